"""
Which containers and codecs are let in?

The demuxer is told by a file's first bytes, never by its name and never by FFmpeg's own probing,
which would find playlists and pictures too.
"""

DEMUXERS = {
    "mp4": "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska": "matroska,webm",
    "avi": "avi",
    "mpegts": "mpegts",
}
"""
FFmpeg's whole name of the demuxer of each `app.domain.container.Container`. Not spelled with that:
behind the walls, where this is loaded, the domain cannot be read.
"""
DECODERS = {
    "h264": "h264",
    "hevc": "hevc",
    "vp8": "vp8",
    "vp9": "vp9",
    "av1": "libdav1d",
    "mpeg4": "mpeg4",
    "mpeg2video": "mpeg2video",
    "mjpeg": "mjpeg",
}
"""The decoder of each codec that is let in. Rare ones are where the holes are found."""
SOUND_DECODERS = {
    "aac": "aac",
    "mp3": "mp3float",
    "opus": "opus",
    "vorbis": "vorbis",
    "ac3": "ac3",
    "flac": "flac",
    "pcm_s16le": "pcm_s16le",
    "pcm_s16be": "pcm_s16be",
    "pcm_s24le": "pcm_s24le",
    "pcm_f32le": "pcm_f32le",
}
"""The same of sound."""
