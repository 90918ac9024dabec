"""Bytes of a BigTIFF, read back by tifffile and by our own reader."""

import io

import pytest
import tifffile

from tilegen.tiling.sinks.tiff_layout import Field, FieldType, header, read_first_directory, structural_metadata


def directory(width, offsets):
    return [
        Field.numbers(324, FieldType.LONG8, *offsets),
        Field.numbers(256, FieldType.LONG, width),
        Field.numbers(257, FieldType.LONG, 3),
        Field.numbers(258, FieldType.SHORT, 8, 8, 8),
        Field.numbers(277, FieldType.SHORT, 3),
        Field.numbers(325, FieldType.LONG, *[0] * len(offsets)),
        Field.text(270, "é"),
        Field.text(305, "longer than eight bytes"),
    ]


def test_the_length_does_not_depend_on_offsets():
    small, large = (header([directory(5, [offset, offset])]) for offset in (0, 2**40))
    assert len(small) == len(large)
    assert len(small) % 16 == 0


def test_tifffile_reads_every_directory():
    content = header([directory(5, [2**40, 0]), directory(3, [0])])
    with tifffile.TiffFile(io.BytesIO(content)) as source:
        assert source.is_bigtiff
        assert [page.imagewidth for page in source.pages] == [5, 3]
        tags = source.pages[0].tags
        assert tags["TileOffsets"].value == (2**40, 0)
        assert tags["BitsPerSample"].value == (8, 8, 8)
        assert tags["ImageDescription"].value == "é"
        assert tags["Software"].value == "longer than eight bytes"
        assert [tag.code for tag in tags] == sorted(tag.code for tag in tags)


def test_our_reader_is_the_inverse():
    fields = directory(5, [2**40, 7])
    assert read_first_directory(header([fields, directory(3, [0])])) == sorted(fields, key=lambda field: field.tag)


def test_the_structural_metadata_states_its_own_length():
    stated, _, promises = structural_metadata().partition(b"\n")
    assert stated == b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes" % len(promises)


@pytest.mark.parametrize("size", range(20))
def test_values_of_any_length_stay_aligned(size):
    content = header([[Field.text(270, "x" * size), Field.numbers(256, FieldType.LONG, 9)]])
    assert [field.data for field in read_first_directory(content)] == [b"\t\0\0\0", b"x" * size + b"\0"]
