"""Picture files of all depths, orientations, transparencies, colour models and frames; invalid labels."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from gcnlab.datasets import CamVid, ImageNet, read_image, read_labels
from gcnlab.datasets.pictures import WHITE

ROWS, COLUMNS = np.mgrid[:24, :40]
COLOURS = np.stack([ROWS * 9, COLUMNS * 6, ROWS + COLUMNS], -1).astype(np.uint8)
LEVELS = np.arange(256).reshape(16, 16)
IDS = (LEVELS % 11).astype(np.uint8)


def png(path, depth, color, raw, *chunks):
    """A PNG of a kind that Pillow does not write: `raw` are rows of bytes."""
    height = len(raw)
    width = 8 * len(raw[0]) // depth // {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in raw))
    out = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")):
        out += struct.pack(">I", len(body)) + kind + body
        out += struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(out)
    return path


def saved(pixels, path, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def rows_columns_rgb(image):
    return image.permute(1, 2, 0).numpy()


# --- More than 8 bits


@pytest.mark.parametrize("low", [0, 1, 200, 255])
@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("a.png", "<u2", {}),
        ("a.pgm", "<u2", {}),
        ("a.jp2", "<u2", {}),
        ("a.tif", "<u2", {}),
        ("a.tif", ">u2", {}),
        ("a.tif", "<u2", {"compression": "tiff_lzw"}),
        ("a.tif", ">u2", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_sixteen_bits_of_grey_keep_their_256_levels(tmp_path, name, kind, options, low):
    """v >> 8: all values above 255 came out white."""
    values = (LEVELS * 256 + low).astype(kind)
    image = read_image(saved(values, tmp_path / name, **options))
    assert np.array_equal(image, np.stack([LEVELS] * 3))


@pytest.mark.parametrize(("color", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_of_colour_are_cut_the_same_way(tmp_path, color, channels):
    values = (LEVELS * 256 + 200).astype(">u2")
    raw = [np.repeat(row[:, None], channels, 1).tobytes() for row in values]
    image = read_image(png(tmp_path / "a.png", 16, color, raw))
    assert np.array_equal(image, np.stack([LEVELS] * 3))


def test_floats_from_0_to_1_are_black_to_white(tmp_path):
    values = (LEVELS / 255).astype(np.float32)
    image = read_image(saved(values, tmp_path / "a.tif"))
    assert np.array_equal(image, np.stack([LEVELS] * 3))


def test_a_dark_picture_of_sixteen_bits_stays_dark(tmp_path):
    """White is the value that the format defines as white, not the brightest value."""
    image = read_image(saved((LEVELS * 16).astype(np.uint16), tmp_path / "a.png"))
    assert image.max() == 15


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_fewer_bits_are_black_to_white_too(tmp_path, depth):
    raw = [bytes([0, 255])]
    image = read_image(png(tmp_path / "a.png", depth, 0, raw))
    assert image[0, 0].tolist() == [0] * (8 // depth) + [255] * (8 // depth)


def test_a_pgm_has_the_white_that_it_says(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 4095\n" + struct.pack(">HH", 0, 4095))
    assert read_image(tmp_path / "a.pgm")[0].tolist() == [[0, 255]]


# --- Which side is up


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_a_photograph_is_turned_as_viewers_show_it(tmp_path, ending, orientation):
    exif, path = Image.Exif(), tmp_path / f"phone.{ending}"
    exif[0x0112] = orientation
    saved(COLOURS, path, exif=exif, **({"lossless": True} if ending == "webp" else {}))
    with Image.open(path) as picture:
        shown = np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    image = rows_columns_rgb(read_image(path))
    assert image.shape[:2] == ((24, 40) if orientation < 5 else (40, 24))
    assert np.array_equal(image, shown)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: np.rot90(a)),
    ],
)
def test_the_eight_orientations_by_their_definition(tmp_path, orientation, turn):
    """EXIF 2.3: which side of the picture the stored first row and column are."""
    exif, path = Image.Exif(), tmp_path / "phone.png"
    exif[0x0112] = orientation
    saved(COLOURS, path, exif=exif)
    assert np.array_equal(rows_columns_rgb(read_image(path)), turn(COLOURS))
    assert np.array_equal(rows_columns_rgb(read_image(path, upright=False)), COLOURS)


@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_a_data_sets_photograph_stays_with_its_label(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for folder in ("train", "trainannot", "n01"):
        (tmp_path / folder).mkdir()
    saved(COLOURS, tmp_path / "train" / "a.png", exif=exif)
    saved(ROWS.astype(np.uint8) % 11, tmp_path / "trainannot" / "a.png")
    image, labels = CamVid("train", tmp_path)[0]
    assert np.array_equal(rows_columns_rgb(image), COLOURS)
    assert np.array_equal(labels, ROWS % 11)


def test_a_classifier_sees_the_stored_pixels(tmp_path):
    exif, folder = Image.Exif(), tmp_path / "train" / "n01440764"
    exif[0x0112] = 6
    folder.mkdir(parents=True)
    saved(COLOURS, folder / "a.png", exif=exif)
    assert np.array_equal(rows_columns_rgb(ImageNet("train", tmp_path)[0][0]), COLOURS)


def test_an_unknown_orientation_is_none(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 9
    assert np.array_equal(
        rows_columns_rgb(read_image(saved(COLOURS, tmp_path / "a.png", exif=exif))), COLOURS
    )


# --- Transparency


def half_transparent(path):
    alpha = np.full(COLOURS.shape[:2], 255, np.uint8)
    alpha[:12], alpha[12] = 0, 51
    return saved(np.dstack([COLOURS, alpha]), path)


def test_transparent_pixels_show_the_background_or_what_is_stored(tmp_path):
    path = half_transparent(tmp_path / "a.png")
    assert np.array_equal(rows_columns_rgb(read_image(path)), COLOURS)
    seen = rows_columns_rgb(read_image(path, background=WHITE)).astype(int)
    assert (seen[:12] == 255).all()
    assert np.array_equal(seen[13:], COLOURS[13:])
    assert np.abs(seen[12] - (0.2 * COLOURS[12] + 0.8 * 255)).max() <= 1


def test_the_background_has_a_colour(tmp_path):
    seen = rows_columns_rgb(
        read_image(half_transparent(tmp_path / "a.png"), background=(10, 20, 30))
    )
    assert (seen[:12] == (10, 20, 30)).all()


def test_grey_with_alpha(tmp_path):
    alpha = np.where(ROWS < 12, 0, 255).astype(np.uint8)
    grey = Image.fromarray(COLOURS[..., 1])
    Image.merge("LA", [grey, Image.fromarray(alpha)]).save(tmp_path / "a.png")
    seen = read_image(tmp_path / "a.png", background=WHITE)
    assert (seen[:, :12] == 255).all()
    assert np.array_equal(seen[:, 12:], np.stack([COLOURS[12:, :, 1]] * 3))
    assert np.array_equal(read_image(tmp_path / "a.png"), np.stack([COLOURS[..., 1]] * 3))


@pytest.mark.parametrize("transparency", [3, bytes([255, 255, 255, 0])])
@pytest.mark.parametrize("ending", ["png", "gif"])
def test_a_palette_with_a_transparent_colour(tmp_path, ending, transparency):
    if ending == "gif" and isinstance(transparency, bytes):
        transparency = 3  # a GIF has one transparent colour
    picture = Image.fromarray(LEVELS.astype(np.uint8) % 5).convert("P")
    palette = [90, 0, 0, 0, 90, 0, 0, 0, 90, 7, 8, 9, 50, 60, 70]
    picture.putpalette(palette)
    picture.save(tmp_path / f"a.{ending}", transparency=transparency)
    colours = np.array(palette).reshape(5, 3)[LEVELS % 5]
    assert np.array_equal(rows_columns_rgb(read_image(tmp_path / f"a.{ending}")), colours)
    colours[LEVELS % 5 == 3] = 255
    seen = read_image(tmp_path / f"a.{ending}", background=WHITE)
    assert np.array_equal(rows_columns_rgb(seen), colours)


def test_a_transparent_grey_value(tmp_path):
    saved(LEVELS.astype(np.uint8), tmp_path / "a.png", transparency=7)
    expected = np.where(LEVELS == 7, 255, LEVELS)
    seen = read_image(tmp_path / "a.png", background=WHITE)
    assert np.array_equal(seen, np.stack([expected] * 3))


@pytest.mark.parametrize("background", [None, WHITE])
def test_without_transparency_the_background_is_not_seen(tmp_path, background):
    path = saved(COLOURS, tmp_path / "a.png")
    assert np.array_equal(rows_columns_rgb(read_image(path, background=background)), COLOURS)


# --- Colour models, frames


def test_cmyk_and_ycck_jpegs_are_not_negatives(tmp_path):
    """Red is no cyan, and all of magenta and yellow. Adobe's programs store both kinds inverted."""
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    red.save(tmp_path / "cmyk.jpg", quality=100, subsampling=0)
    # Of YCCK libjpeg makes CMY as the negative of RGB; so what is stored is Y, Cb, Cr of the inks' amounts.
    luma = Image.new("RGB", (1, 1), (0, 255, 255)).convert("YCbCr").getpixel((0, 0))
    stored = Image.new("CMYK", (16, 16), (*(255 - value for value in luma), 0))
    stored.save(tmp_path / "ycck.jpg", quality=100, subsampling=0)
    content = bytearray((tmp_path / "ycck.jpg").read_bytes())
    content[content.find(b"Adobe") + 11] = 2  # the colour transform: YCCK
    (tmp_path / "ycck.jpg").write_bytes(content)
    for name in ("cmyk.jpg", "ycck.jpg"):
        image = rows_columns_rgb(read_image(tmp_path / name)).astype(int)
        assert np.abs(image - (255, 0, 0)).max() <= 4, name


def test_the_preview_behind_a_photograph_does_not_matter(tmp_path):
    first, preview = Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)
    first.save(tmp_path / "a.mpo", save_all=True, append_images=[preview], quality=95)
    first.save(tmp_path / "a.jpg", quality=95)
    assert np.array_equal(read_image(tmp_path / "a.mpo"), read_image(tmp_path / "a.jpg"))


# --- Labels: every file that keeps the ids, and no other


@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.bmp", {}),
        ("a.gif", {}),
        ("a.pcx", {}),
        ("a.tga", {}),
        ("a.tif", {}),
        ("a.tif", {"compression": "tiff_lzw"}),
        ("a.tif", {"compression": "tiff_adobe_deflate"}),
        ("a.tif", {"compression": "packbits"}),
    ],
)
def test_files_that_keep_every_id_are_read(tmp_path, name, options, mode):
    picture = Image.fromarray(IDS)
    if mode == "P":
        picture = picture.convert("P")
        picture.putpalette([255 - value for value in range(256) for _ in range(3)])
    picture.save(tmp_path / name, **options)
    assert np.array_equal(read_labels(tmp_path / name), IDS)


def test_a_pgm_of_ids_is_read(tmp_path):
    assert np.array_equal(read_labels(saved(IDS, tmp_path / "a.pgm")), IDS)


@pytest.mark.parametrize(("name", "form"), [("a.png", "JPEG"), ("a.jpg", "JPEG"), ("a.png", "MPO")])
@pytest.mark.parametrize("quality", [75, 100])
def test_a_jpeg_is_no_label_map_whatever_its_name(tmp_path, name, form, quality):
    """Ids 0, 3, 7 became 0 … 10, with classes that nobody drew."""
    saved(IDS, tmp_path / name, format=form, quality=quality)
    with pytest.raises(ValueError, match=rf"{name}: labels must be saved without lossy"):
        read_labels(tmp_path / name)


def test_palette_indices_of_fewer_bits_are_ids(tmp_path):
    raw = [bytes([0x01, 0x23]), bytes([0x32, 0x10])]
    path = png(tmp_path / "a.png", 4, 3, raw, (b"PLTE", bytes(range(48))))
    assert read_labels(path).tolist() == [[0, 1, 2, 3], [3, 2, 1, 0]]


def test_a_label_is_not_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert np.array_equal(read_labels(saved(IDS[:4], tmp_path / "a.png", exif=exif)), IDS[:4])
