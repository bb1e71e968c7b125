"""What trainings share, whatever network they train: options, loop, checkpoints, averaging, losses and augmentation.

`options` and `flags` are read by the command line and import no PyTorch. `loop.fit` runs a training: it resumes from
`checkpoint.Checkpoint`, calls one step after the other (usually `learner.Learner.step`) and exports the model.
"""
