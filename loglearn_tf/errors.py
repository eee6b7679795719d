"""The errors a user can cause; each message names the rule, the value and the remedy."""


class LoglearnError(ValueError):
    """Wrong input. The command line prints its message and exits with code 2."""


class ConfigError(LoglearnError):
    """A setting is unknown, of the wrong type, or contradicts another."""


class DataError(LoglearnError):
    """A data set, or the mel store made from it, is not what it should be."""


class MissingDataError(DataError, FileNotFoundError):
    """A file or folder of a data set is not there."""

    # OSError.__str__ would be used for two-argument calls; a message is all we give.
    __str__ = ValueError.__str__


class StorageError(LoglearnError):
    """A file cannot be written: no space, no permission, no such place."""


class DownloadError(LoglearnError):
    """A server does not give a file, or gives another one."""


class ClusterError(LoglearnError):
    """There is no such Ray cluster, or it cannot do the runs."""


class WorkerError(LoglearnError):
    """A process that works for this one has died."""


class ModelError(LoglearnError):
    """A file is no saved model, or not one that does what was asked."""


class AudioError(DataError):
    """One audio file cannot be decoded; names the file, the reason and the remedy."""


class NonFiniteSamplesError(AudioError):
    """A file decodes, but to samples that are not finite numbers, or far beyond any audio."""
