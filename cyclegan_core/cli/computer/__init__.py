"""What concerns this computer: `doctor` looks at it, `demo` shows a page on it."""
