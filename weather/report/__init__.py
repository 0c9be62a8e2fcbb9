"""What people open after a forecast: one self-contained HTML page, and its pictures as PNG."""
