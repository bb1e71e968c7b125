"""The files of models: which files make a model of each kind, where they are to be had, and what is in them.

`catalogue` lists the kinds, `locate` finds a model on this disk, `hub` on Hugging Face's hub. `files` and `folders`
look at a model without loading it; `pickles`, `torch_file`, `smpl_file` and `networks` load it.

The bytes of each file are read by way of `factory.untrusted`, which knows formats and limits but no models.
"""
