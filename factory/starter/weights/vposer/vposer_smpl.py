"""The network of this folder: VPoser v1 as the package human_body_prior ships it."""

from human_body_prior.train.vposer_smpl import VPoser

__all__ = ["VPoser"]
