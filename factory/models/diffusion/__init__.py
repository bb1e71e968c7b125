"""Diffusion models by diffusers: text to image, and image to image under a depth map.

`base` is what they share; `text_to_image`, `depth_to_image` and `controlnet` are the kinds. `layout` and
`controlnet_config` tell from json files what a model is, `pipelines`, `schedulers` and `adapters` load it, `guidance`,
`prompt_cache` and `prompt_length` serve its call, `human_region` changes one step of it.
"""
