"""What is promised in the situations that strangers get into, and the tests that show it.

A table to read. Each row names a situation, what the product promises there, and the test that makes the situation and
holds the promise against it. This file itself only checks that no row has lost its test.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

# situation | promise | path below tests/ :: function
TABLE = """
# somebody's files
an output named factory-pilot in the temporary folder | no run removes it | engine/test_scratch.py::test_a_data_set_and_notes_named_like_our_folders_are_left_alone
2,000 runs start at once | none loses its scratch folder | engine/test_scratch.py::test_two_thousand_starts_at_once
a run on Ray was killed | the next run removes its scratch, also an inline one | engine/test_scratch.py::test_what_a_killed_run_left_is_removed_by_the_next_one_inline_too
the output is a git checkout, or holds .cache/huggingface | nothing of it is touched; verify ignores it | store/test_links.py::test_a_git_checkout_stays_one
an export's target is a git checkout or holds others' files | nothing of theirs is touched | export/test_kills.py::test_what_others_keep_in_the_target_stays
a lock file of somebody else in the output | refused, untouched | store/test_links.py::test_a_lock_file_of_somebody_else_is_left_alone
a link inside a data set | one line or no harm; its target is untouched | store/test_links.py::test_a_link_inside_a_data_set_is_refused_by_what_would_write_through_it
retry where parts would land elsewhere | one line, nothing changed | store/test_links.py::test_retry_of_a_shard_whose_parts_would_land_elsewhere_is_refused
shards are links into a cache | read; the cache stays as it is | store/test_links.py::test_a_data_set_of_links_to_files_as_caches_keep_it_is_read
a file name beside the shards is not UTF-8 | a stray like any other | store/test_damage.py::test_a_file_name_that_is_not_utf8_is_a_stray_like_any

# disks and users
an output that cannot be written | plan and doctor say so before a run | doctor/test_checks.py::test_an_output_that_cannot_be_written_is_told_before_a_run
the output is a link to a folder | works | store/test_links.py::test_the_output_itself_may_be_a_link_to_a_folder
the output is a dangling link | one line | store/test_links.py::test_an_output_that_is_a_dangling_link_is_one_line
a pipe in the place of a file | one line, no waiting | store/test_links.py::test_what_is_no_plain_file_is_not_waited_for
the output is moved, replaced or removed in mid-run, or its job.json | one line; nothing is written elsewhere | store/test_place.py::test_a_run_whose_folder_is_disturbed_ends_in_one_line_and_writes_nothing_elsewhere
it is put back | goes on to the same bytes | store/test_place.py::test_a_folder_that_is_put_back_goes_on
.lock is removed and a second run starts | the first ends, the second goes on | store/test_place.py::test_a_second_run_that_finds_no_lock_is_left_alone_by_the_first
a child process outlives the run | the output is free | store/test_place.py::test_a_child_does_not_keep_the_lock_of_a_run_that_has_ended
a killed run's child keeps the lock | it is named | store/test_place.py::test_of_a_killed_run_a_child_that_keeps_the_lock_is_named
~ or $VARIABLE in output | replaced | store/test_place.py::test_home_and_variables_in_an_output_are_replaced
the variable is not set | one line | store/test_place.py::test_a_variable_that_is_not_set_is_one_line
--to=~/x | replaced | export/test_run.py::test_home_in_a_target_is_replaced
a share without locks and without fsync of folders | the same bytes | store/test_odd_disks.py::test_a_share_without_locks_and_without_fsync_of_folders_holds_the_same_data_set
two runs on a share without locks | the second is refused; a killed one is gone at once | store/test_odd_disks.py::test_on_a_share_without_locks_a_second_run_is_refused_and_a_killed_one_is_gone_at_once
many runs begin at once there | one gets it | store/test_odd_disks.py::test_of_many_runs_that_begin_at_once_on_a_share_without_locks_one_gets_it
a run frozen there wakes | it writes no more | store/test_odd_disks.py::test_a_run_frozen_on_a_share_without_locks_writes_no_more_when_it_wakes
EIO or ESTALE half-way | one line; nothing is marked done that is not | store/test_odd_disks.py::test_a_disk_that_fails_half_way_is_one_line_and_nothing_is_marked_done_that_is_not
a team-mate with the right to write, umask 002 | goes on | store/test_odd_disks.py::test_a_team_mate_with_the_right_to_write_goes_on
.lock may not be read | one line; status answers | store/test_odd_disks.py::test_a_lock_that_may_not_be_read_or_written_is_one_line_and_the_status_is_told
inspect of a read-only data set | names --to | present/test_report.py::test_the_report_of_a_data_set_that_may_not_be_written_goes_where_it_is_told
no home, no user name (docker --user) | runs on Ray | engine/test_local.py::test_runs_for_a_user_without_a_home_or_a_name

# buckets
an endpoint without http:// | one line names the variable | store/test_objects.py::test_an_endpoint_that_is_no_address_is_told
a bucket's object is read past its end, or is empty | what is there | store/test_objects.py::test_a_reading_beyond_the_end_gives_what_is_there
AWS_ENDPOINT_URL or AWS_ENDPOINT_URL_S3 is http:// | works | store/test_objects.py::test_every_usual_variable_may_name_an_http_endpoint
a store without conditional PUT | one line; FACTORY_LEASE=weak goes on | store/test_objects.py::test_a_store_without_conditional_puts_is_told_and_can_be_used_with_a_weak_lease
a password in the endpoint | never shown | store/test_objects.py::test_a_password_in_the_endpoint_is_not_shown
a password in ray_address | refused, never shown | test_config.py::test_a_password_in_an_address_is_refused_and_never_shown
a thousand shards in a bucket | one listing a command | store/test_objects.py::test_every_reader_lists_once
a run frozen within an upload wakes after others went on | it ends in one line; the new shard stays | store/test_zombie.py::test_a_holder_frozen_in_a_write_does_not_bring_back_the_shard_of_before
the same on a shared disk | the same | store/test_zombie.py::test_a_holder_that_lost_a_folder_while_it_wrote_leaves_what_is_there
S3: run, kill -9, resume, damage, repair | every command works | store/test_objects_cli.py::test_a_run_is_killed_goes_on_and_is_repaired
S3: retry, run, inspect, export, validate | every command works | store/test_objects_cli.py::test_a_failed_record_is_retried_and_the_data_set_looked_at_and_exported

# inputs that change between two runs
a picture came, went, was renamed, exchanged or edited, or poses were replaced | refused, nothing touched | store/test_begun.py::test_inputs_that_changed_are_refused_and_nothing_is_touched
keypoints were replaced | refused | store/test_begun.py::test_keypoints_that_changed_are_refused
inputs were moved or copied, or a slash at the end | goes on, same bytes | store/test_begun.py::test_the_same_inputs_under_another_path_go_on
a model, detector config or prompt set under another path | goes on; a changed _BASE_ is refused | store/test_begun.py::test_a_model_or_prompt_set_under_another_path_goes_on
a data set begun by an older version | goes on, guarded from then on | store/test_begun.py::test_data_begun_by_an_older_version_go_on_and_are_guarded_from_then_on
the same, with other images | refused | store/test_begun.py::test_data_begun_by_an_older_version_with_other_images_are_refused
a finished data set whose images are gone | nothing to do; an unfinished one is refused | store/test_begun.py::test_a_finished_data_set_needs_its_images_no_more
one of 2,000 actions was edited | one short line | store/test_begun.py::test_one_of_2000_actions_edited_is_told_in_a_line
parts of another job were copied in | made anew, told | store/test_damage.py::test_parts_of_another_job_are_made_anew_and_told
parts of an earlier version | kept where keys and seeds fit, told | store/test_damage.py::test_parts_of_an_earlier_version_are_kept_if_their_keys_and_seeds_fit

# inputs as strangers have them
~user of nobody in an input | told as missing | doctor/test_models.py::test_the_home_of_an_unknown_user_holds_nothing
Ski-Pose labels that claim terabytes or lie in other files | refused, nothing else opened | sources/test_datasets.py::test_skipose_labels_that_only_pretend_to_be_so
SMART annotations nested or endless | refused in one line | sources/test_datasets.py::test_smart_annotations_that_would_break_the_reader
imgname as bytes, with backslashes, without ending | matched | sources/test_names.py::test_poses_and_keypoints_find_their_images_however_they_are_spelt
labels of other images | refused, with a name of each side | sources/test_names.py::test_names_that_fit_no_image_are_refused_with_both
one label fits two images | refused | sources/test_names.py::test_a_label_that_could_be_of_two_images_is_refused
a list from Windows (byte-order mark, UTF-16, backslashes) | read | sources/test_images.py::test_a_list_written_on_windows
linked folders, circles of them | followed once, told | sources/test_images.py::test_linked_folders_are_followed_once
._a.jpg, .thumbnails, __MACOSX | left out, told | sources/test_images.py::test_what_file_managers_leave_is_no_picture
.heic | told | sources/test_images.py::test_pictures_of_kinds_that_are_not_read_are_told
a file name that is not UTF-8 | left out, told | sources/test_images.py::test_a_name_that_is_not_utf_8_is_left_out_and_told
tar keys with dots | told or refused | sources/test_images.py::test_keys_with_dots_are_told_and_not_lost_in_silence
sh-{000000..000001}.tar | as webdataset reads it; a missing tar is refused | sources/test_images.py::test_braces_name_tars_as_webdataset_does
labels of SMART or Ski-Pose without their images | told or refused | sources/test_datasets.py::test_labels_without_their_images
plan and doctor on a stranger's folder | say what is found and left out | sources/test_command.py::test_plan_tells_what_was_found_and_what_is_left_out
no record could be used | exit code 1, a clear line | sources/test_command.py::test_a_run_that_could_use_nothing_does_not_end_with_0
EFT fits | bodies lie where EFT draws them, within 1 px | sources/test_poses.py::test_an_efts_body_lies_where_eft_draws_it
a prompt longer than the text encoder takes | plan counts it and says where | doctor/test_cut_prompts.py::test_factory_plan_says_it
the sample of such a prompt | holds the text that was read | doctor/test_cut_prompts.py::test_a_run_with_prompts_that_are_cut_is_sound_and_stores_what_was_read

# pictures
16-bit or 32-bit grey, float TIFF | keeps its shades | sources/test_picture.py::test_a_grey_picture_of_any_depth_keeps_its_shades
float TIFF with NaN or infinity | read | sources/test_picture.py::test_a_float_picture_with_holes_is_read
a transparent picture | shows white, no hidden colour | sources/test_picture.py::test_what_is_transparent_shows_white_and_no_hidden_colour
a bad EXIF rational | read, and turned | sources/test_picture.py::test_bad_exif_makes_no_picture_broken
a long text chunk or a broken ICC profile in a PNG | read | sources/test_picture.py::test_what_a_png_says_about_itself_never_decides
a broken profile or MPF segment in a JPEG | read | sources/test_picture.py::test_what_a_jpeg_says_about_itself_never_decides
a picture above Pillow's limit and below max_pixels | read | sources/test_picture.py::test_the_jobs_limit_is_the_limit_and_not_pillows

# job files and bombs
a bomb of YAML merge keys | one line with its line number | test_config.py::test_merge_keys_that_would_never_end_are_refused_with_their_line
.inf, .nan, 0xfff..., workers: 10^9, surrogates | one line | test_config.py::test_values_that_no_job_has
a prompt file of a stranger | read within limits | prompts/test_prompts.py::test_a_set_of_a_stranger_is_read_within_limits
a .mat that unpacks to far more | one line | prompts/test_prompts.py::test_a_mat_that_unpacks_to_far_more_is_refused
a bomb in a sample | one line in inspect, export and load | test_security.py::test_a_bomb_in_a_sample_is_one_line_in_inspect_export_and_load
a greedy .npz for poses or keypoints | one line | test_security.py::test_labels_that_would_unpack_to_far_more_are_one_line
deeply nested EFT json | one line | test_security.py::test_deeply_nested_fits_are_one_line
a sparse tar member | refused | test_security.py::test_a_sparse_member_is_not_made_whole
a stranger's job.json names folders and files | none is listed or opened | test_security.py::test_a_strangers_job_lists_no_folder_and_opens_no_file
a parquet bomb | refused | untrusted/test_tables.py::test_a_table_that_would_take_more_than_it_should
any hostile data set, any command | one line or success, nothing outside touched, below 1 GB | test_hostile.py::test_a_hostile_data_set_gives_one_line_or_success

# damage
a shard larger than memory | verify reads it in blocks | store/test_verify.py::test_a_shard_too_large_for_memory_is_looked_at_in_blocks
a flipped byte in an index | one line in every reader | store/test_damage.py::test_a_flipped_byte_in_an_index_is_one_line_in_every_reader
an index whose texts are not UTF-8 | one line: damaged | store/test_damage.py::test_an_index_whose_texts_are_not_utf8_is_damaged
a part vanishes in mid-run | one line; run again | store/test_damage.py::test_a_part_that_is_taken_away_in_mid_run_ends_it_in_one_line
retry after the card was written | told; the next run writes it anew; an edited card stays | present/test_card.py::test_after_a_retry_card_and_shard_list_are_written_anew
wids.json says something else than the shards | verify says so, --repair mends | present/test_card.py::test_verify_sees_a_shard_list_that_lies_and_repair_takes_it_away
a card of other shards | verify says so | present/test_card.py::test_a_card_of_other_shards_is_noticed
verify beside a live run | no false alarm; what moves is told | store/test_live.py::test_the_command_tells_a_live_run_and_no_false_alarm

# Ray and plug-ins
a worker is stopped while it leaves | killed from outside | engine/test_watcher.py::test_a_worker_that_hangs_is_killed
factory.py, torch.py or json.py in the working directory | not imported, same bytes | engine/test_local.py::test_runs_in_any_folder_whatever_lies_there
others on the network | a Ray of our own listens on loopback alone | engine/test_local.py::test_listens_on_loopback_alone
others on the machine | turned away without the token | engine/test_local.py::test_turns_away_whoever_lacks_the_token
a record kills or stops its worker | it fails alone | engine/test_cluster.py::test_a_record_that_kills_or_holds_its_worker_fails_alone
sys.exit(0) in a library, inline | that record fails | engine/test_inline.py::test_a_library_that_ends_its_process_fails_one_record
sys.exit(0) in a library, Ray | the same bytes as inline | engine/test_cluster.py::test_a_library_that_ends_its_process_fails_one_record
a node short of memory | the run ends and names it | engine/test_local.py::test_a_node_short_of_memory_ends_the_run_in_words
a process of Ray dies | one line, what is done is kept | engine/test_local.py::test_one_line_when_a_process_of_ray_dies
Ray ends the run before it can speak | one line all the same | engine/test_witness.py::test_one_line_when_ray_ends_the_driver
kill -9 of the run | no word of Ray | engine/test_local.py::test_no_word_of_ray_when_it_was_the_run_that_was_killed
Ctrl-C of a run on Ray | no word of Ray, resumed to the same bytes | chaos/test_chaos.py::test_in_processes_of_their_own
nothing gets finished for a while | a line says what is waited for, since when | engine/test_cluster.py::test_a_run_that_gets_nothing_done_says_what_it_waits_for
an error text that is not UTF-8 | escaped in the index | engine/test_inline.py::test_an_error_in_any_letters_reaches_the_index_safely
a plug-in answers with NaN, complex numbers or dates | that record fails, the field is named | stages/test_estimate.py::test_a_plug_ins_wrong_answer_fails_that_record_and_says_why
an estimate of wrong shape, type or count | told by its field | models/hmr/test_base.py::test_a_wrong_estimate_is_told_by_its_field
a wrong mask, score or box | told by its field | models/detectors/test_base.py::test_a_wrong_detection_is_told_by_its_field
a network gives NaN | fails, never "no person" | stages/test_estimate.py::test_a_network_that_gives_nan_fails_and_does_not_find_nobody

# weights
a model that this user may not read | one line; plan still answers | doctor/test_models.py::test_a_model_that_this_user_may_not_read_is_told
too little memory for the models | is said, and not that the weights do not fit | engine/test_worker.py::test_short_memory_is_not_taken_for_a_fault_of_the_weights
only fp16 files | "write `variant: fp16`" | weights/test_files.py::test_a_folder_with_only_fp16_files_is_told_its_variant
only .bin files | how to convert | weights/test_files.py::test_a_folder_with_only_pickles_is_told_how_to_convert
a Git LFS pointer | "run `git lfs pull`" | weights/test_files.py::test_a_git_lfs_pointer_is_told_to_be_pulled
a pointer in a part that no stage loads | no harm | weights/test_files.py::test_a_pointer_that_no_stage_needs_does_no_harm
a shard of the weights is missing | counted | weights/test_files.py::test_a_shard_that_is_missing_is_counted
doctor on a folder that will not load | not ok, and why | doctor/test_model_files.py::test_a_folder_that_will_not_load_is_not_ok
SMPL as .pth or a folder | what it is, what is wanted | weights/test_smpl_file.py::test_a_pytorch_file_or_a_folder_in_smpls_place
SMPL-X, SMPL-H, MANO or FLAME in SMPL's place | told by name | weights/test_smpl_file.py::test_another_body_is_told_by_its_name
SMPL whose J is a chumpy product | read | weights/test_smpl_file.py::test_what_smpl_does_not_need_may_be_anything
a checkpoint with callbacks, paths, numpy numbers | read | weights/test_torch_file.py::test_what_trainers_put_beside_the_weights_is_no_fault
pickles of every protocol | read | untrusted/test_inert.py::test_arrays_of_every_protocol
a hostile pickle | refused, runs nothing | untrusted/test_inert.py::test_hostile_pickles_are_refused_and_run_nothing
a pickle bomb | ends at once | untrusted/test_inert.py::test_bombs_end_at_once
a half-written checkpoint | one line | weights/test_torch_file.py::test_half_written_files_are_one_line
a web page, TorchScript or a pointer in the place of weights | what it is | weights/test_torch_file.py::test_files_that_are_something_else_are_told
NaN in weights | one line with the layer | models/hmr/test_spin.py::test_nan_in_a_network_is_one_line
a hub id without a network | one line | doctor/test_model_files.py::test_offline_a_hub_id_is_one_clear_line

# real libraries
BEV | no process, no download, no pip install | models/hmr/test_choice.py::test_bev_is_loaded_without_a_process_or_a_download
the real simple_romp, where it is installed | the same | models/hmr/test_choice.py::test_bevs_real_modules_start_nothing_either
SPIN's checkpoint | sees the pixels that SPIN's code cuts | models/hmr/test_spin.py::test_spins_checkpoint_sees_the_pixels_that_spins_code_cuts
FLUX.2 and 18 more families | draw | models/diffusion/test_families.py::test_an_image_of_any_family_depends_on_its_own_prompt_and_on_no_other
guidance 1 and 5 | two images | models/diffusion/test_families.py::test_guidance_1_and_5_draw_different_images
guidance for a distilled model | refused, with what to set | models/diffusion/test_families.py::test_guidance_that_a_distilled_model_ignores_is_refused
a negative prompt | has an effect, or is refused | models/diffusion/test_families.py::test_a_negative_prompt_changes_the_image_or_is_refused
a ControlNet-Union | named | models/diffusion/test_families.py::test_a_controlnet_union_is_named
a ControlNet of another family | both families are named at load | models/diffusion/test_families.py::test_a_controlnet_of_another_family_is_named
a ControlNet as a single file or a whole model | named, how to convert | models/diffusion/test_families.py::test_a_controlnet_that_is_a_single_file_or_a_whole_model_is_named
a text-to-image model as depth model, or the reverse | named | models/diffusion/test_families.py::test_a_text_to_image_model_is_no_depth_model
a LoRA of another family | named | models/diffusion/test_families.py::test_a_lora_of_another_family_is_named
a LoRA that fits in part | refused, with counts | models/diffusion/test_families.py::test_a_lora_that_fits_in_part_is_refused
doctor's command for detectron2 | constraints, no build isolation | doctor/test_checks.py::test_packages_that_the_choices_need
detector.config without masks, hostile, or leaving its folder | one line, runs nothing | models/detectors/test_detectron_config.py::test_a_config_that_is_not_taken_is_one_line_and_runs_nothing
a LazyConfig .py | one line, not run | models/detectors/test_detectron_config.py::test_a_config_of_python_is_not_run

# exports
an export is killed, then retry, run, export | no sample lost or doubled | export/test_kills.py::test_a_killed_export_then_retry_and_run_loses_and_doubles_nothing
a finished export, its data set changed since | one line; the export stays as it is | export/test_kills.py::test_a_whole_export_of_an_older_state_is_left_as_it_is
the data set changes during an export | one line; the next run begins anew | export/test_kills.py::test_a_data_set_that_changes_under_an_export_is_told
an export is killed again and again | gets done, same bytes | export/test_kills.py::test_an_export_that_is_always_killed_gets_done_all_the_same
an export is killed alone with -9 | its workers end | export/test_kills.py::test_workers_end_with_their_export
an export begun by another version | refused in one line | export/test_kills.py::test_an_export_of_another_version_is_not_gone_on_with
a job name holds closeup or portrait | bedlam and camerahmr refuse | export/test_kills.py::test_a_name_at_which_the_trainer_turns_images_is_refused
a stranger's data set | writes nowhere but below --to | export/test_hostile.py::test_a_strangers_data_set_writes_nowhere_else
a shard that was cut | told before anything is written | export/test_hostile.py::test_a_shard_that_was_cut_is_told_before_anything_is_written
no image shows a person | every format refuses | export/test_hostile.py::test_images_without_people_are_no_export
one of two people has an empty box | the other keeps its own mask | export/test_hostile.py::test_whoever_is_left_keeps_the_own_mask
labels that do not fit each other | validate tells | export/test_mutations.py::test_each_mutation_of_a_table_is_found
the same in a tar | validate tells | export/test_mutations.py::test_each_mutation_of_a_tar_is_found
an image cut in half or to 300 bytes | validate tells | export/test_mutations.py::test_an_image_that_is_cut_is_found
the yaml names an absent tar | validate tells | export/test_mutations.py::test_a_tar_that_the_yaml_names_and_that_is_not_there_is_found

# training on it
a person out of the picture | is no sample of factory.load | test_loader.py::test_whoever_is_out_of_the_picture_is_no_sample
more ranks and workers than shards | samples are divided instead; no rank is empty | test_loader.py::test_no_rank_is_left_without_samples_however_few_shards_there_are
more readers than samples | one line with both numbers | test_loader.py::test_more_readers_than_samples_are_told_so

# fine-tuning, experiments and the study
a fine-tuning is killed with -9 | the same command ends with the same bytes | finetune/test_hmr.py::test_a_training_that_was_killed_goes_on_to_the_same_bytes
its folder holds another training | refused, left alone | finetune/test_hmr.py::test_the_checkpoint_of_another_training_is_refused_and_left_alone
its loss is not finite any more | it ends in one line | finetune/test_hmr.py::test_a_training_that_diverges_says_so
pairs were made of images that --share leaves out | they are left out too | finetune/test_hmr.py::test_pairs_that_were_made_of_unchosen_images_are_left_out
labels are bodies of another model | refused | evaluate/test_hmr.py::test_bodies_of_another_model_are_refused
a file of SPIN names images elsewhere, or holds other arrays | refused in one line | labelled/test_people.py::test_files_that_are_not_as_spins
an experiment is killed | it goes on within its cell | experiment/test_experiment.py::test_a_killed_run_goes_on_within_the_cell_and_ends_with_the_same_figures
results of other settings lie in an experiment's folder | they are never taken | experiment/test_experiment.py::test_results_of_other_settings_are_never_taken
data or weights of an experiment are missing | --check names source and licence; the other rows are made | experiment/test_experiment.py::test_check_names_what_is_missing_with_its_source_and_licence
a rater closes the page half way | the answers are still there | evaluate/test_study.py::test_at_a_desk_a_rater_answers_by_keys_and_mouse_and_goes_on_another_day
answers to another study, or of the same rater twice | refused in one line | evaluate/test_study_sum.py::test_what_is_no_answer_to_this_study_is_refused_in_one_line

# standard output
it cannot show a character (ASCII, Latin-1) | it is written as its escape; bars turn to ASCII | present/test_terminal.py::test_an_output_of_few_characters_gets_plain_bars
a prompt or an error holds terminal escapes | they are shown, not obeyed | present/test_terminal.py::test_what_an_error_holds_does_not_reach_the_terminal_as_a_command
it is full | the command does its work; one line, exit code 1 | present/test_terminal.py::test_a_full_output_is_told_in_one_line
the reader of a pipe stops reading | no error | present/test_terminal.py::test_a_reader_that_has_seen_enough_is_no_error
the reader of a run's output dies, or its disk is full | the run goes on to its end | present/test_terminal.py::test_a_run_outlives_its_output
FORCE_COLOR in a log | colours, no moving bars | present/test_terminal.py::test_forced_colours_fill_no_log_with_bars
records failed | status, stats and the run say why, with counts and an example | present/test_terminal.py::test_why_records_failed_is_told_with_counts_and_an_example
prompts or names that hold HTML, links or images | the card shows them as text | present/test_card.py::test_nothing_in_a_prompt_or_a_name_becomes_markup
"""
ROWS = [line.split(" | ") for line in TABLE.splitlines() if line and not line.startswith("# ")]


@cache
def functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("situation", "promise", "test"), ROWS, ids=[row[0] for row in ROWS])
def test_every_promise_has_its_test(situation: str, promise: str, test: str):
    path, _, name = test.partition("::")
    assert name in functions(Path(__file__).parent / path), f"{situation}: {promise}"
