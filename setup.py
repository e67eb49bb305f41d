"""What `pyproject.toml` can't say: the packages are found, and the weights beside them are one."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["cyclegan_core*"]), "cyclegan_core.weights"])
