"""Media for a request: what kind of data some bytes are, and the content blocks that carry them in base64.

Each wire format spells such a block in its own way; the slices re-export their own:

    Claude            image_block, document_block
    Chat              image_part, input_audio, file_part
    Responses         input_image, input_audio, input_file

Each takes the bytes themselves or a path to them. A path is read by a plain blocking read: in a coroutine,
`await asyncio.to_thread(image_block, path)` keeps the loop free while a large file comes in.

Nothing here uploads, fetches or changes the data, and nothing looks at what a model accepts: the server knows that.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from dgrid_async.errors import ConfigError

__all__ = [
    "Media",
    "document_block",
    "file_part",
    "image_block",
    "image_part",
    "input_audio",
    "input_file",
    "input_image",
    "mime_type_of",
    "read_file",
]

Media = bytes | bytearray | memoryview | str | os.PathLike[str]
"""The bytes themselves, or a path (a str is a path)."""

# How far into the data a mark that has no fixed place is looked for.
_HEAD = 4096

# ------------------------------------------------------------------------------------------------ what the content says

_PREFIXES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"II+\0\x08\0", "image/tiff"),
    (b"MM\0+\0\x08", "image/tiff"),
    (b"fLaC", "audio/flac"),
    (b"ADIF", "audio/aac"),
    (b"FLV\x01", "video/x-flv"),
    (b"\0\0\x01\xba", "video/mpeg"),
    (b"\0\0\x01\xb3", "video/mpeg"),
)
_RIFF_FORMS = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
# ISO base media brands (https://mp4ra.org/registered-types/brands); what is not here is MP4.
_IMAGE_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"hevc": "image/heic",
    b"hevx": "image/heic",
}
_ANY_IMAGE_BRANDS = {b"mif1", b"mif2", b"msf1", b"miaf"}
_OTHER_BRANDS = {b"qt  ": "video/quicktime", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"M4P ": "audio/mp4"}
# A QuickTime file older than brands begins with one of these boxes.
_QUICKTIME_BOXES = {b"moov", b"mdat", b"wide", b"pnot"}
# The sizes of the header that follows a bitmap's file header, one for each version of it.
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")
_ASF_AUDIO = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")
_MPEG_PACKET = 188

_EXTENSIONS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "bmp": "image/bmp",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "heic": "image/heic",
    "heif": "image/heif",
    "avif": "image/avif",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "oga": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "m4a": "audio/mp4",
    "aif": "audio/aiff",
    "aiff": "audio/aiff",
    "wma": "audio/x-ms-wma",
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "avi": "video/x-msvideo",
    "mpg": "video/mpeg",
    "mpeg": "video/mpeg",
    "ts": "video/mp2t",
    "3gp": "video/3gpp",
    "3g2": "video/3gpp2",
    "ogv": "video/ogg",
    "flv": "video/x-flv",
    "wmv": "video/x-ms-wmv",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "css": "text/css",
    "xml": "text/xml",
    "rtf": "application/rtf",
    "json": "application/json",
    "js": "text/javascript",
    "py": "text/x-python",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def mime_type_of(data: bytes, name: str | None = None) -> str:
    """Return what kind of data some bytes are, as a MIME type.

    The content decides: images (PNG, JPEG, GIF, WebP, BMP, TIFF, HEIC, AVIF, SVG), PDF, audio (WAV, MP3, Ogg, FLAC,
    AAC, M4A, AIFF, WMA) and video (MP4, QuickTime, WebM, Matroska, AVI, MPEG, 3GP, FLV, WMV). The name decides only
    where it does not.

    Args:
        data: The whole of it, or at least its beginning.
        name: A file's name or path, for its extension.

    Raises:
        ConfigError: Neither tells.
    """
    data = bytes(data)
    head = data[:_HEAD]
    found = _by_prefix(head) or _by_box(data) or _by_frame(data) or _by_text(head)
    if found is None and name is not None:
        found = _EXTENSIONS.get(Path(name).suffix.lower().removeprefix("."))
    if found is None:
        what = f"bytes that begin with {head[:8]!r}" if head else "no bytes at all"
        named = "" if name is None else f" by the name {Path(name).name!r}"
        raise ConfigError(f"cannot tell what kind of data this is ({what}{named}): give mime_type=")
    return found


def _by_prefix(head: bytes) -> str | None:
    for prefix, mime_type in _PREFIXES:
        if head.startswith(prefix):
            return mime_type
    form = head[8:12]
    if head[:4] in {b"RIFF", b"RF64", b"BW64"}:
        return _RIFF_FORMS.get(form)
    if head[:4] == b"FORM" and form in {b"AIFF", b"AIFC"}:
        return "audio/aiff"
    # "BM" alone begins many a text.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "image/bmp"
    if head.startswith(b"OggS"):
        return "video/ogg" if b"\x80theora" in head else "audio/ogg"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in head[:128] else "video/x-matroska"
    return None


def _by_box(data: bytes) -> str | None:
    """Return the kind of data that is made of boxes or packets: ISO base media, QuickTime, ASF, MPEG transport."""
    # The size of the first box comes before its name; in a text that would be a letter.
    if data[:2] == b"\0\0" and data[4:8] == b"ftyp":
        return _by_brand(data)
    if data[:1] < b"\t" and data[4:8] in _QUICKTIME_BOXES:
        return "video/quicktime"
    if data.startswith(_ASF_HEADER):
        header = data[: min(int.from_bytes(data[16:24], "little"), 16 * _HEAD)]
        return "audio/x-ms-wma" if _ASF_AUDIO in header and _ASF_VIDEO not in header else "video/x-ms-wmv"
    for start, step in ((0, _MPEG_PACKET), (4, _MPEG_PACKET + 4)):
        if data[start : start + 2 * step + 1 : step] == b"GGG":
            return "video/mp2t"
    return None


def _by_brand(data: bytes) -> str:
    size = int.from_bytes(data[:4], "big")
    major = data[8:12]
    if major in _IMAGE_BRANDS:
        return _IMAGE_BRANDS[major]
    if major in _ANY_IMAGE_BRANDS:
        compatible = [data[at : at + 4] for at in range(16, min(size, _HEAD), 4)]
        return next((_IMAGE_BRANDS[brand] for brand in compatible if brand in _IMAGE_BRANDS), "image/heif")
    if major in _OTHER_BRANDS:
        return _OTHER_BRANDS[major]
    if major[:3] in {b"3gp", b"3g2"}:
        return "video/3gpp" if major[:3] == b"3gp" else "video/3gpp2"
    return "audio/mp4" if _tracks(data) == {b"soun"} else "video/mp4"


def _tracks(data: bytes) -> set[bytes]:
    """Return the kinds of track that an ISO base media file has, as far as its `moov` box is here."""
    for kind, start, end in _boxes(data):
        if kind == b"moov":
            handlers = data[start:end].split(b"hdlr")[1:]
            return {handler[8:12] for handler in handlers} & {b"soun", b"vide"}
    return set()


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 0
    while at + 8 <= len(data):
        size, header = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = len(data) if size == 0 else at + size
        yield data[at + 4 : at + 8], at + header, end
        if end < at + header:
            return
        at = end


def _by_frame(data: bytes) -> str | None:
    """Return the kind of data that begins with a frame of audio, behind an ID3 tag or without one."""
    at = 0
    if data[:3] == b"ID3" and len(data) >= 10:  # noqa: PLR2004 -- the tag's header
        size = 0
        for byte in data[6:10]:
            size = (size << 7) | (byte & 0x7F)
        at = 10 + size
        if data[at : at + 4] == b"fLaC":
            return "audio/flac"
    return _frame(data, at) or ("audio/mpeg" if at else None)


def _frame(data: bytes, at: int) -> str | None:
    """Return what the header of an audio frame says (ISO 11172-3, 2.4.1.3; ISO 13818-7, 6.2)."""
    header = data[at : at + 4]
    if len(header) < 4 or header[0] != 0xFF:  # noqa: PLR2004 -- the sync word
        return None
    if (header[1] & 0xF6) == 0xF0:  # noqa: PLR2004
        return "audio/aac" if ((header[2] >> 2) & 0xF) < 13 else None  # noqa: PLR2004 -- 13 sampling rates
    version, layer = (header[1] >> 3) & 3, (header[1] >> 1) & 3
    bitrate, rate = header[2] >> 4, (header[2] >> 2) & 3
    # Layer I is left out: its header is the byte order mark of UTF-16, and no such files are about.
    known = header[1] >= 0xE0 and version != 1 and layer in {1, 2} and bitrate != 15 and rate != 3  # noqa: PLR2004
    return "audio/mpeg" if known else None


def _by_text(head: bytes) -> str | None:
    """Return what a text begins with: an SVG, whatever comes before its root element, or a PDF."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\0 \t\r\n\f")
    if text.startswith(b"%PDF-"):
        return "application/pdf"
    while text.startswith((b"<?", b"<!--", b"<!DOCTYPE svg")):
        if text.startswith(b"<!DOCTYPE") and b"[" in text[: text.find(b">")]:
            close = b"]>"
        else:
            close = b"-->" if text.startswith(b"<!--") else b">"
        _, ends, text = text.partition(close)
        if not ends:
            return None
        text = text.lstrip()
    return "image/svg+xml" if text.startswith(b"<svg") and text[4:5] in b" \t\r\n>/" else None


# ------------------------------------------------------------------------------------------------------- content blocks


def read_file(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    """Return a file's bytes and its name; a plain blocking read.

    Raises:
        OSError: It cannot be read.
    """
    file = Path(path)
    return file.read_bytes(), file.name


def _load(media: Media, mime_type: str | None) -> tuple[bytes, str, str | None]:
    """Return the bytes, their type, and the file's name where there is a file."""
    name = None
    if isinstance(media, (str, os.PathLike)):
        data, name = read_file(media)
    else:
        data = bytes(media)
    return data, mime_type or mime_type_of(data, name), name


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _data_url(data: bytes, mime_type: str) -> str:
    return f"data:{mime_type};base64,{_base64(data)}"


def _file_name(mime_type: str) -> str:
    """Return a name for a file that has none."""
    extension = next((extension for extension, known in _EXTENSIONS.items() if known == mime_type), "bin")
    return f"file.{extension}"


def image_block(media: Media, mime_type: str | None = None) -> dict[str, Any]:
    """Return Claude's block of an image, its bytes in base64.

    Args:
        media: Its bytes, or a path to them.
        mime_type: What it is; None finds it out.

    Raises:
        ConfigError: No type was given and the data does not tell.
        OSError: The path cannot be read.

    Source: https://docs.anthropic.com/en/docs/build-with-claude/vision
    """
    data, mime_type, _ = _load(media, mime_type)
    return {"type": "image", "source": {"type": "base64", "media_type": mime_type, "data": _base64(data)}}


def document_block(media: Media, mime_type: str | None = None, *, title: str | None = None) -> dict[str, Any]:
    """Return Claude's block of a document: a PDF in base64, a text as it is.

    Args:
        media: Its bytes, or a path to them.
        mime_type: What it is; None finds it out. Any `text/…` goes as plain text, the one kind the format has.
        title: What the model is told it is called; None for no title.

    Raises:
        ConfigError: No type was given and the data does not tell, or a text is not UTF-8.
        OSError: The path cannot be read.

    Source: https://docs.anthropic.com/en/docs/build-with-claude/pdf-support
    """
    data, mime_type, name = _load(media, mime_type)
    source = {"type": "base64", "media_type": mime_type, "data": _base64(data)}
    if mime_type.startswith("text/"):
        try:
            source = {"type": "text", "media_type": "text/plain", "data": data.decode("utf-8-sig")}
        except UnicodeDecodeError as error:
            raise ConfigError(f"the text {name or 'given'!r} is not UTF-8 (byte {error.start}): decode it first") from error
    block: dict[str, Any] = {"type": "document", "source": source}
    if title is not None:
        block["title"] = title
    return block


def image_part(
    media: Media, mime_type: str | None = None, *, detail: Literal["auto", "low", "high", "original"] | None = None
) -> dict[str, Any]:
    """Return Chat's part of an image, as a data URL.

    Args:
        media: Its bytes, or a path to them.
        mime_type: What it is; None finds it out.
        detail: How finely the model looks at it; None leaves that to the server.

    Raises:
        ConfigError: No type was given and the data does not tell.
        OSError: The path cannot be read.

    Source: https://platform.openai.com/docs/guides/images-vision
    """
    data, mime_type, _ = _load(media, mime_type)
    image = {"url": _data_url(data, mime_type)}
    if detail is not None:
        image["detail"] = detail
    return {"type": "image_url", "image_url": image}


_AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/aac": "aac",
    "audio/mp4": "m4a",
    "audio/aiff": "aiff",
}


def input_audio(media: Media, format: str | None = None) -> dict[str, Any]:  # noqa: A002 -- the wire's word
    """Return the part of a recording, which Chat and Responses spell alike.

    Args:
        media: Its bytes, or a path to them.
        format: "wav" or "mp3", or what else a model takes; None finds it out.

    Raises:
        ConfigError: No format was given and the data is no known audio.
        OSError: The path cannot be read.

    Source: https://platform.openai.com/docs/guides/audio
    """
    data, mime_type, _ = _load(media, f"audio/{format}" if format else None)
    format = format or _AUDIO_FORMATS.get(mime_type)  # noqa: A001 -- the wire's word
    if format is None:
        raise ConfigError(f"{mime_type} is no audio that has a format's name here: give format=")
    return {"type": "input_audio", "input_audio": {"data": _base64(data), "format": format}}


def file_part(media: Media, mime_type: str | None = None, *, filename: str | None = None) -> dict[str, Any]:
    """Return Chat's part of a file, as a data URL.

    Args:
        media: Its bytes, or a path to them.
        mime_type: What it is; None finds it out.
        filename: What the model is told it is called; None for the path's own name, or one made for the type.

    Raises:
        ConfigError: No type was given and the data does not tell.
        OSError: The path cannot be read.

    Source: https://platform.openai.com/docs/guides/pdf-files
    """
    data, mime_type, name = _load(media, mime_type)
    file = {"filename": filename or name or _file_name(mime_type), "file_data": _data_url(data, mime_type)}
    return {"type": "file", "file": file}


def input_image(
    media: Media, mime_type: str | None = None, *, detail: Literal["auto", "low", "high", "original"] = "auto"
) -> dict[str, Any]:
    """Return Responses' part of an image, as a data URL.

    Args:
        media: Its bytes, or a path to them.
        mime_type: What it is; None finds it out.
        detail: How finely the model looks at it; the format requires one, "auto" being the server's own default.

    Raises:
        ConfigError: No type was given and the data does not tell.
        OSError: The path cannot be read.

    Source: https://platform.openai.com/docs/guides/images-vision
    """
    data, mime_type, _ = _load(media, mime_type)
    return {"type": "input_image", "image_url": _data_url(data, mime_type), "detail": detail}


def input_file(media: Media, mime_type: str | None = None, *, filename: str | None = None) -> dict[str, Any]:
    """Return Responses' part of a file, as a data URL.

    Args:
        media: Its bytes, or a path to them.
        mime_type: What it is; None finds it out.
        filename: What the model is told it is called; None for the path's own name, or one made for the type.

    Raises:
        ConfigError: No type was given and the data does not tell.
        OSError: The path cannot be read.

    Source: https://platform.openai.com/docs/guides/pdf-files
    """
    data, mime_type, name = _load(media, mime_type)
    file_name = filename or name or _file_name(mime_type)
    return {"type": "input_file", "filename": file_name, "file_data": _data_url(data, mime_type)}
