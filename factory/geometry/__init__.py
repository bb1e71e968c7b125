"""What the product knows about bodies: joints, cameras, crops, rotations, the body model, where estimated bodies lie,
rasterisers, depth, agreement."""
