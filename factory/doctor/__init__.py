"""What a run needs and whether it is here: models, packages, PyTorch, disk, GL. Each fault comes with its remedy.

`models` is also what `factory run` asks before it starts; `cut_prompts` serves `factory plan` too.
"""
