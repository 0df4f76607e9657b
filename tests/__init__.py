"""Tests of finwatch; they mirror the packages."""
