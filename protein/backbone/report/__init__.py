"""What people open after a run: a picture of the designs and one self-contained HTML report."""

from protein.backbone.report.gallery import save_gallery as save_gallery
from protein.backbone.report.write import write_report as write_report
