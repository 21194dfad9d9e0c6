"""Networks that look at a picture once and answer many prompts: SAM, MobileSAM, SAM 2.1's picture part."""
