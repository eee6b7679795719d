"""Suffixes of sound files, by the library that reads them."""

MPEG_SUFFIXES = (".mp3", ".mp2", ".mp1", ".mpga")
# Suffixes of the formats of `soundfile.available_formats()`, without RAW, GSM and VOX, which have no header, so that
# rate and channels would be a guess; SD2, whose header is in a resource fork, which is lost in copies; MAT4 and MAT5,
# since nearly all `.mat` files contain matrices.
SOUNDFILE_SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".bw64", ".w64"),
    *(".aif", ".aiff", ".aifc", ".caf", ".au", ".snd"),
    *(".flac", ".ogg", ".oga", ".opus", *MPEG_SUFFIXES),
    *(".sph", ".nist", ".voc", ".sf", ".ircam", ".svx", ".8svx", ".16sv", ".iff", ".paf", ".fap"),
    *(".avr", ".pvf", ".htk", ".sds", ".wve", ".xi", ".mpc2k"),
)
# Recordings of phones, browsers and Windows, and sound of films. `.mka` and `.mkv` are WebM with other codecs.
PYAV_SUFFIXES = (
    *(".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".3gpp", ".3g2", ".aac", ".amr", ".awb"),
    *(".webm", ".weba", ".mka", ".mkv", ".wma", ".asf", ".wmv", ".spx", ".ape", ".wv", ".tta", ".ac3", ".eac3", ".dts"),
)
