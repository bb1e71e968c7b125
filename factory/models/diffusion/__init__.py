"""Diffusion models by diffusers: text to image, and image to image under a depth map."""
