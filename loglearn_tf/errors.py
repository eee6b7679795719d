"""The errors a user can cause; each message names the rule, the value and the remedy."""


class LoglearnError(ValueError):
    """Wrong input. The command line prints its message and exits with code 2.

    Remedy:
        Catch this class to catch every error below. The message of each ends with what to do.
    """


class ConfigError(LoglearnError):
    """A setting is unknown, of the wrong type, or contradicts another.

    Also an argument, a name in a registry, or a study whose finished runs were made with other settings.

    Remedy:
        Correct the setting that the message names, in the file or on the command line. Where finished runs were made
        with other settings, give the study another `name`.
    """


class DataError(LoglearnError):
    """A data set, or the mel store made from it, is not what it should be.

    Also results that cannot be read.

    Remedy:
        `loglearn data check` lists everything that is wrong with a data set. `loglearn features` computes again what a
        mel store lacks.
    """


class MissingDataError(DataError, FileNotFoundError):
    """A file or folder of a data set is not there.

    Remedy:
        Correct `data.root`, or get the data set: `loglearn data get`. To go on without missing clips, set
        `data.allow_missing=true`.
    """

    # OSError.__str__ would be used for two-argument calls; a message is all we give.
    __str__ = ValueError.__str__


class StorageError(LoglearnError):
    """A file cannot be written: no space, no permission, no such place.

    Remedy:
        Make room, or name another folder: `runs_dir`, `features.store_dir`. What was finished is kept.
    """


class DownloadError(LoglearnError):
    """A server does not give a file, or gives another one.

    Remedy:
        Run the same command again: it goes on from the bytes that have arrived. Or download the archives by other means
        and name their folder: `--from-dir`.
    """


class ClusterError(LoglearnError):
    """There is no such Ray cluster, or it cannot do the runs.

    Remedy:
        Check `ray.address`, that every node has the same version of this package, and that a node has the CPUs and GPUs
        that `ray.cpus` and `ray.gpus` ask for.
    """


class WorkerError(LoglearnError):
    """A process that works for this one has died.

    Remedy:
        Most often memory ran out: use fewer `workers`. The same command goes on from what was finished.
    """


class ModelError(LoglearnError):
    """A file is no saved model, or not one that does what was asked.

    Remedy:
        Name a `model.keras` that a run kept with `save_models=true`, or a classifier that `clip_classifier` made.
    """


class AudioError(DataError):
    """One audio file cannot be decoded; names the file, the reason and the remedy.

    Remedy:
        Get the file again, or convert it to WAV or FLAC. For M4A, AAC, AMR, WMA and WebM install `loglearn_tf[av]`.
    """


class NonFiniteSamplesError(AudioError):
    """A file decodes, but to samples that are not finite numbers, or far beyond any audio.

    Remedy:
        Write the file again from its source, with samples in [-1, 1].
    """
