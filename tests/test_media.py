"""What kind of data some bytes are, and the blocks that carry them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dgrid_async import media
from dgrid_async.errors import ConfigError

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0"
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + (200).to_bytes(8, "little") + bytes(30)
ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")
ASF_AUDIO = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")
MP3_FRAME = b"\xff\xfb\x90\x64\0\0"
AAC_FRAME = b"\xff\xf1\x50\x80\x02\x1f\xfc"
ID3 = b"ID3\x04\0\0\0\0\x01\x02" + bytes(130)


def box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    return box(b"ftyp", major + bytes(4) + b"".join(compatible))


def moov(*handlers: bytes) -> bytes:
    tracks = [box(b"trak", box(b"mdia", box(b"hdlr", bytes(8) + handler + bytes(12)))) for handler in handlers]
    return box(b"moov", box(b"mvhd", bytes(100)) + b"".join(tracks))


def bmp(header: int) -> bytes:
    return b"BM" + bytes(12) + header.to_bytes(4, "little") + bytes(header - 4)


def matroska(kind: bytes) -> bytes:
    return b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82" + bytes([0x80 | len(kind)]) + kind + b"\x42\x87\x81\x04"


CONTENTS = [
    (PNG, "image/png"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "image/jpeg"),
    (b"\xff\xd8\xff\xdb\0\x43", "image/jpeg"),
    (b"GIF87a\x01\0", "image/gif"),
    (b"GIF89a\x01\0", "image/gif"),
    (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
    (bmp(40), "image/bmp"),
    (bmp(124), "image/bmp"),
    (b"II*\0\x08\0\0\0", "image/tiff"),
    (b"MM\0*\0\0\0\x08", "image/tiff"),
    (b"II+\0\x08\0\0\0", "image/tiff"),
    (ftyp(b"heic", b"mif1", b"heic"), "image/heic"),
    (ftyp(b"mif1", b"mif1", b"heic"), "image/heic"),
    (ftyp(b"mif1", b"miaf"), "image/heif"),
    (ftyp(b"avif", b"mif1"), "image/avif"),
    (ftyp(b"mif1", b"avif"), "image/avif"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
    (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- a > b -->\n<svg>\n', "image/svg+xml"),
    (b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x.dtd"><svg width="1"/>', "image/svg+xml"),
    (b'<!DOCTYPE svg [<!ENTITY a "b">]> <svg>', "image/svg+xml"),
    (PDF, "application/pdf"),
    (b"\r\n" + PDF, "application/pdf"),
    (WAV, "audio/wav"),
    (b"RF64\xff\xff\xff\xffWAVEds64", "audio/wav"),
    (MP3_FRAME, "audio/mpeg"),
    (b"\xff\xf3\x90\x64", "audio/mpeg"),
    (ID3 + MP3_FRAME, "audio/mpeg"),
    (ID3, "audio/mpeg"),
    (ID3 + AAC_FRAME, "audio/aac"),
    (ID3 + b"fLaC\0\0\0\x22", "audio/flac"),
    (b"OggS\0\x02" + bytes(20) + b"\x01\x13OpusHead", "audio/ogg"),
    (b"OggS\0\x02" + bytes(20) + b"\x01\x1e\x01vorbis", "audio/ogg"),
    (b"OggS\0\x02" + bytes(20) + b"\x01\x2a\x80theora", "video/ogg"),
    (b"fLaC\0\0\0\x22", "audio/flac"),
    (AAC_FRAME, "audio/aac"),
    (b"\xff\xf9\x50\x80", "audio/aac"),
    (b"ADIF\0", "audio/aac"),
    (ftyp(b"M4A ", b"isom"), "audio/mp4"),
    (ftyp(b"isom") + box(b"mdat", bytes(50)) + moov(b"soun"), "audio/mp4"),
    (ftyp(b"isom") + b"\0\0\0\1mdat" + (24).to_bytes(8, "big") + bytes(8) + moov(b"soun"), "audio/mp4"),
    (ftyp(b"isom") + b"\0\0\0\4mdat" + moov(b"soun"), "video/mp4"),
    (b"FORM\0\0\0\x20AIFFCOMM", "audio/aiff"),
    (b"FORM\0\0\0\x20AIFCFVER", "audio/aiff"),
    (ftyp(b"isom", b"mp41"), "video/mp4"),
    (ftyp(b"mp42") + moov(b"vide", b"soun"), "video/mp4"),
    (ftyp(b"M4V "), "video/mp4"),
    (ftyp(b"qt  "), "video/quicktime"),
    (box(b"moov", b""), "video/quicktime"),
    (box(b"wide", b"") + box(b"mdat", b"x"), "video/quicktime"),
    (matroska(b"webm"), "video/webm"),
    (matroska(b"matroska"), "video/x-matroska"),
    (b"RIFF\x24\0\0\0AVI LIST", "video/x-msvideo"),
    (b"\0\0\x01\xba\x44\0", "video/mpeg"),
    (b"\0\0\x01\xb3\x14\0", "video/mpeg"),
    ((b"G" + bytes(187)) * 3, "video/mp2t"),
    ((bytes(4) + b"G" + bytes(187)) * 3, "video/mp2t"),
    (ftyp(b"3gp5", b"isom"), "video/3gpp"),
    (ftyp(b"3g2a"), "video/3gpp2"),
    (b"FLV\x01\x05\0\0\0\x09", "video/x-flv"),
    (ASF + ASF_AUDIO + ASF_VIDEO, "video/x-ms-wmv"),
    (ASF, "video/x-ms-wmv"),
    (ASF + ASF_AUDIO, "audio/x-ms-wma"),
]


@pytest.mark.parametrize(("data", "mime_type"), CONTENTS, ids=[f"{n}-{kind}" for n, (_, kind) in enumerate(CONTENTS)])
def test_the_content_decides(data: bytes, mime_type: str) -> None:
    assert media.mime_type_of(data) == mime_type
    assert media.mime_type_of(data + bytes(100_000), "misleading.txt") == mime_type
    assert media.mime_type_of(bytearray(data)) == mime_type  # type: ignore[arg-type]  # harmless, so allowed


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"BM is how many a word begins",
        b"The wide world",
        b"\nThe moov",
        b"Our ftypisom",
        "words in UTF-16".encode("utf-16"),
        b"<html><svg></svg></html>",
        b"<!DOCTYPE html><svg></svg>",
        b"<svgs>",
        b"<?xml version='1.0'?><note/>",
        b"<!-- never closed",
        b"about %PDF-",
        b"RIFF\0\0\0\0CDDA",
        b"\xff\xff\xff\xff",
        b"\xff\xfb\xf0\0",
        b"Great",
        b"\0\0\0\0",
    ],
)
def test_the_name_decides_where_the_content_does_not(data: bytes) -> None:
    with pytest.raises(ConfigError, match="give mime_type="):
        media.mime_type_of(data)
    with pytest.raises(ConfigError, match=r"by the name 'data\.unknown'"):
        media.mime_type_of(data, "folder.png/data.unknown")
    assert media.mime_type_of(data, "notes.TXT") == "text/plain"
    assert media.mime_type_of(data, "/a.b/page.html") == "text/html"


@pytest.mark.parametrize(
    ("name", "mime_type"),
    [
        ("a.heif", "image/heif"),
        ("a.opus", "audio/ogg"),
        ("a.tar.csv", "text/csv"),
        ("b.m4a", "audio/mp4"),
        ("c.3gp", "video/3gpp"),
    ],
)
def test_names(name: str, mime_type: str) -> None:
    assert media.mime_type_of(b"?", name) == mime_type


def test_read_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"x")
    assert media.read_file(path) == media.read_file(str(path)) == (b"x", "a.bin")


# ------------------------------------------------------------------------------------------------------------- blocks


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


PNG_URL = f"data:image/png;base64,{b64(PNG)}"
PDF_URL = f"data:application/pdf;base64,{b64(PDF)}"


@pytest.mark.parametrize(
    ("build", "data", "block"),
    [
        (
            media.image_block,
            PNG,
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(PNG)}},
        ),
        (
            media.document_block,
            PDF,
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": b64(PDF)}},
        ),
        (media.image_part, PNG, {"type": "image_url", "image_url": {"url": PNG_URL}}),
        (media.input_audio, WAV, {"type": "input_audio", "input_audio": {"data": b64(WAV), "format": "wav"}}),
        (media.file_part, PDF, {"type": "file", "file": {"filename": "file.pdf", "file_data": PDF_URL}}),
        (media.input_image, PNG, {"type": "input_image", "image_url": PNG_URL, "detail": "auto"}),
        (media.input_file, PDF, {"type": "input_file", "filename": "file.pdf", "file_data": PDF_URL}),
    ],
)
def test_blocks_of_bytes_and_of_paths(
    build: Callable[..., dict[str, Any]], data: bytes, block: dict[str, Any], tmp_path: Path
) -> None:
    assert build(data) == build(bytearray(data)) == build(memoryview(data)) == block
    path = tmp_path / "file.pdf"
    path.write_bytes(data)
    assert build(path) == build(str(path)) == block
    with pytest.raises(ConfigError, match="cannot tell what kind of data"):
        build(b"?")
    with pytest.raises(FileNotFoundError):
        build(tmp_path / "none")


def test_a_given_type_is_taken() -> None:
    assert media.image_block(b"?", "image/x")["source"]["media_type"] == "image/x"
    assert media.image_part(b"?", "image/x", detail="low")["image_url"] == {
        "url": "data:image/x;base64,Pw==",
        "detail": "low",
    }
    assert media.input_image(b"?", mime_type="image/x", detail="high")["detail"] == "high"
    assert media.file_part(b"?", "a/b")["file"] == {"filename": "file.bin", "file_data": "data:a/b;base64,Pw=="}
    assert media.input_file(b"?", "a/b", filename="n.x")["filename"] == "n.x"
    assert media.input_audio(b"?", "mp3")["input_audio"] == {"data": "Pw==", "format": "mp3"}


def test_the_files_own_name_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(PDF)
    assert media.file_part(path)["file"]["filename"] == media.input_file(path)["filename"] == "report.pdf"
    assert media.file_part(path, filename="other")["file"]["filename"] == "other"


def test_a_text_document_goes_as_text(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_bytes(b"\xef\xbb\xbf# \xc3\xbc")
    source = {"type": "text", "media_type": "text/plain", "data": "# \u00fc"}
    assert media.document_block(path, title="Notes") == {"type": "document", "source": source, "title": "Notes"}
    with pytest.raises(ConfigError, match="not UTF-8"):
        media.document_block(b"\xff", "text/plain")


@pytest.mark.parametrize(("data", "name"), [(MP3_FRAME, "mp3"), (b"fLaC", "flac"), (b"OggS\0\x02", "ogg")])
def test_audio_formats(data: bytes, name: str) -> None:
    assert media.input_audio(data)["input_audio"]["format"] == name


def test_what_is_no_audio_is_refused() -> None:
    with pytest.raises(ConfigError, match="image/png is no audio"):
        media.input_audio(PNG)
