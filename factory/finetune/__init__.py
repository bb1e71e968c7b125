"""Fine-tuning of pretrained models on a domain: body estimators on real and synthetic images, diffusion models on real
ones."""
