"""What refines what R-CNNs find: boxes stage by stage, masks point by point."""
