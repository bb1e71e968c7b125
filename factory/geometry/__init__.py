"""What the product knows about bodies: joints, cameras, crops, rotations, the body model, rasterisers, agreement."""
