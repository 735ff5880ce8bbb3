"""DICOM series: found in folders, checked for completeness, and read as volumes."""

from medups.data.volumes.dicom.headers import DicomSeries, Slice
from medups.data.volumes.dicom.read import only_series, read_series
from medups.data.volumes.dicom.survey import FolderContent, is_dicom, survey_folder

__all__ = ["DicomSeries", "FolderContent", "Slice", "is_dicom", "only_series", "read_series", "survey_folder"]
