"""Artefacts on S3-compatible storage: folders of the data folder that hosts share without a shared file system."""
