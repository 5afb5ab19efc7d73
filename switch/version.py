"""The version of this software, as installed."""

from importlib.metadata import PackageNotFoundError, version as package_version


def version() -> str:
    """As in `pyproject.toml`; "0" where nothing is installed."""
    try:
        return package_version("tongbao")
    except PackageNotFoundError:
        return "0"
