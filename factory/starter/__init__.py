"""The starter pack: an open body and small models trained on a rendered world. See weights/README.md.

`world` renders scenes with their ground truth, `body` makes the open body, `train` trains the models, and `measure`
says how good they are.
"""
