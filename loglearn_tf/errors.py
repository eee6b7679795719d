"""Errors that users can cause; each message names the rule, the value and the remedy."""


class LoglearnError(ValueError):
    """Invalid input. The command line prints its message and exits with code 2.

    Remedy:
        Catch this class to catch all errors below. Each message ends with the remedy.
    """


class ConfigError(LoglearnError):
    """A setting is unknown, has the wrong type, or contradicts another.

    Also raised for arguments, names in registries, and studies whose finished runs have other settings.

    Remedy:
        Correct the setting named in the message, in the file or on the command line. If finished runs were made with
        other settings, give the study another `name`.
    """


class DataError(LoglearnError):
    """A data set, or the mel store made from it, is invalid or damaged.

    Also raised for unreadable results.

    Remedy:
        `loglearn data check` lists all problems of a data set. `loglearn features` recomputes what is missing in a mel
        store.
    """


class MissingDataError(DataError, FileNotFoundError):
    """A file or folder of a data set is missing.

    Remedy:
        Correct `data.root`, or download the data set with `loglearn data get`. To continue without missing clips, set
        `data.allow_missing=true`.
    """

    # OSError.__str__ is meant for calls with two arguments; here there is only a message.
    __str__ = ValueError.__str__


class StorageError(LoglearnError):
    """A file cannot be written: no space, no permission, or no such folder.

    Remedy:
        Free some space or choose another folder: `runs_dir`, `features.store_dir`. Finished work is kept.
    """


class DownloadError(LoglearnError):
    """A server does not provide a file, or provides a wrong one.

    Remedy:
        Rerun the command to resume. Alternatively, download the archives by other means and name their folder:
        `--from-dir`.
    """


class ClusterError(LoglearnError):
    """The Ray cluster does not exist or cannot execute the runs.

    Remedy:
        Check `ray.address`, that every node has the same version of this package, and that a node has the CPUs and GPUs
        in `ray.cpus` and `ray.gpus`.
    """


class WorkerError(LoglearnError):
    """A worker process has died.

    Remedy:
        The most common cause is lack of memory: use fewer `workers`. Rerun the command to resume.
    """


class ModelError(LoglearnError):
    """A file is not a saved model, or not of the required kind.

    Remedy:
        Name a `model.keras` saved by a run with `save_models=true`, or a classifier made by `clip_classifier`.
    """


class AudioError(DataError):
    """An audio file cannot be decoded; the message names the file, the reason and the remedy.

    Remedy:
        Get another copy of the file, or convert it to WAV or FLAC. For M4A, AAC, AMR, WMA and WebM install
        `loglearn_tf[av]`.
    """


class NonFiniteSamplesError(AudioError):
    """A file decodes, but its samples are not finite or far outside any audio range.

    Remedy:
        Export the file again from its source, with samples in [-1, 1].
    """
