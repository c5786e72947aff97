//! Known attacks of this field: a test for each entry that applies to the verbs of today, named after its mechanism. After each
//! the canary, a tree of the user's beside the store, is as it was.
//!
//! Where they are: `archive` is `containers-storage/tests/attacks_archive.rs`, `rooted` is
//! `containers-storage/src/rooted/tests.rs`, `copier` is `tests/copier.rs`, `transports` is `tests/transports/hostile.rs`; `seccomp` and `conf` are unit tables of those
//! modules, and the rest are the modules of this program.
//! An entry that waits for a verb (`build`, `pull`, `push`, a load from an archive, git contexts) says which.
//!
//! | entry | tests, or why there is none |
//! |---|---|
//! | A01 | paths: `copies_into_and_out_of_…`, `links_of_an_image_…`, `linked_copies_…`; copier: `racing_destination`, `racing_source` |
//! | A02 | races: `missing_mount_points_…`; paths: `copies_into_and_out_of_…`; copier: `racing_destination` |
//! | A03 | paths: `copies_into_and_out_of_…`, `links_of_an_image_…`, `linked_copies_…`; copier: `racing_destination`, `nothing_outside` |
//! | A04 | cli urls: `a_repository_is_fetched_…`; contexts of `build` have tests of their own |
//! | A05 | cli urls: `a_repository_is_fetched_…` |
//! | A06 | copier: `nothing_outside`; downloaded contexts wait for `build` |
//! | A07 | copier: `own_ignore_file` |
//! | A08 | paths: `an_ignored_file_…`; copier: `ignored_by_any_name` |
//! | A09 | paths: `names_never_become_paths`; ids are types that cannot hold another text |
//! | A10 | paths: `names_never_become_paths`; archive: `a28_…` |
//! | A11 | mounts: `a_missing_working_directory_…`; races: `missing_mount_points_…` |
//! | A12 | paths: `owners_are_not_looked_up_…`; process: `a_user_database_…`; copier: `hostile_passwd`; cli id_maps: `what_an_image_calls_…` |
//! | A13 | races: `provided_files_…`; mounts: `links_in_the_place_of_mount_points_…` |
//! | A14 | paths: `a_pipe_or_device_…`; process: `a_user_database_…`; copier: `own_ignore_file` |
//! | A15 | rooted: `kernel_and_walk_give_the_same_answers_…` and the other tables; images: `odd_spellings_of_a_link_…` |
//! | A16 | paths: `removing_a_container_…`; rooted: `removal_under_swapped_links_…`; mounts: `mount_points_are_gone_…` |
//! | A17 | races: `owners_are_not_given_through_links`, `directories_of_the_system_…` |
//! | A18 | paths: `copies_into_and_out_of_…`, `linked_copies_…`; `push` waits |
//! | A19 | cli urls: `a_file_at_an_address_…`; the tables of `container::fetch::address` |
//! | A20 | waits for downloaded Dockerfiles |
//! | A21–A25 | archive: `a21_…` to `a25_…` |
//! | A26 | private_places: `another_user_who_knows_every_name_…`, `a_running_container_never_sees_…` |
//! | A27–A35 | archive: `a27_…` to `a35_…` |
//! | A36, A38 | transports: `a_layer_that_is_not_what_the_config_says_…`, `docker_archives_that_reach_out_…`, `files_that_lead_out_…` |
//! | A37, A39–A42 | archive: `a37_…` to `a42_…`; A39 also transports: `something_after_…`; A41 also paths: `modes_do_not_depend_on_the_umask` |
//! | A43 | process: `the_callers_binary_…`; chroot: `a_chroot_leads_neither_…` |
//! | A44 | process: `descriptors_of_the_caller_…`; chroot: `a_chroot_leads_neither_…`, `a_plain_chroot_is_not_left_…` |
//! | A45 | process: `the_callers_processes_…`; chroot: `a_chroot_gives_…` |
//! | A46 | images: `planted_programs_and_libraries_…` |
//! | A47, A51 | process: `capabilities_are_bounded_…` |
//! | A48 | process: `supplementary_groups_…` |
//! | A49 | other_users: `with_one_id_…`; userns: the tables of subordinate ids |
//! | A50 | process: `what_is_no_user_…` |
//! | A52 | process: `a_line_break_in_a_name_…` |
//! | A53, A54 | process: `the_callers_environment_…`, `the_callers_processes_…` |
//! | A55 | images: `labels_and_annotations_…` |
//! | A56 | process: `keystrokes_…`; chroot: `a_chroot_cannot_type_…` |
//! | A57, A61 | process: `a_restriction_that_is_unknown_…`; chroot: `a_plain_chroot_refuses_…`; cli: `isolation` |
//! | A58–A60 | process: `refused_calls_…`; chroot: `an_external_runtime_…`; seccomp: the compiled filter, interpreted |
//! | A62 | process: `long_words_…` |
//! | A63 | private_places: `overlays_outside_of_containers_…`, `another_user_cannot_stat_…`; other_users: `an_overlay_of_a_user_…` |
//! | A64 | images: `mount_options_and_programs_…`; no FUSE program is ever started |
//! | A65 | process: `no_process_outlives_the_command`; chroot: `no_process_of_a_chroot_…`; cli: `isolation` |
//! | A66 | mounts: `links_in_the_place_of_mount_points_…`, `volumes_land_inside_…` |
//! | A67 | races: `a_mount_below_a_shared_volume_…` |
//! | A68 | races: `missing_mount_points_…` |
//! | A69, A73 | mounts: `the_kernels_trees_…` |
//! | A70 | mounts: `the_kernels_trees_…`; parallel steps wait for `build` |
//! | A71 | mounts: `masks_hold_…` |
//! | A72 | mounts: `the_terminal_is_bound_by_handle` |
//! | A74 | mounts: `read_only_volumes_…` |
//! | A75, A76 | mounts: `nothing_of_the_machine_can_be_written` |
//! | A77, A78, A80, A82 | sources; build_mounts: stages, contexts and shared caches |
//! | A79 | mounts: `mount_options_ride_on_no_other`, `a_store_below_an_odd_name_works` |
//! | A81 | mounts: `mount_points_are_gone_…`; build_mounts: `mount_points_are_removed_…` |
//! | A83 | images: `volumes_of_an_image_…`; paths: `a_volume_behind_a_link_…`; there are no named volumes |
//! | A84 | mounts: `edits_of_generated_files_vanish` |
//! | A85 | mounts: `volumes_land_inside_…`; races: `a_mount_below_a_shared_volume_…` |
//! | A92, A93, A95, A96 | build_mounts: `a_secret_leaves_no_trace_…`, `a_secrets_place_…`; `run::secrets`: nothing shows a value |
//! | A97 | registry: `no_realm_gets_a_password_…`, `the_registrys_own_token_server_…`; registry_hosts: `a_mirror_gets_no_credentials_…`, `an_anonymous_token_…`; the table of `transport::registry::token` |
//! | A98 | registry_hosts: `https_that_fails_…`; cli registry: `certificates_are_verified`; the table of `transport::registry::token` |
//! | A99 | registry: `a_layers_own_addresses_…`; registry_hosts: `a_server_that_the_registry_leads_to_…` |
//! | A100 | registry_hosts: `a_redirect_loses_…`, `a_redirect_leads_to_the_web_only`, `nothing_goes_on_in_the_clear_…`; registry: `endless_answers_…`; http: the tables of redirects |
//! | A101 | registry: `an_upload_elsewhere_…`; registry_hosts: `nothing_goes_on_in_the_clear_…` |
//! | A102 | registry: `pages_of_tags_…`; registry_bytes: `tags_without_end_…` |
//! | A103, A104 | conf: the tables of `auth`; http: that of origins |
//! | A105 | registry: `documents_are_what_was_asked_for_…`; registry_bytes: `blobs_that_are_not_…`; transports: `digests_that_are_paths_…`; signatures: `a105_…` |
//! | A106 | the same of registry and registry_bytes; `the_image_that_the_lies_are_about_…`: what was verified is not asked for again |
//! | A107 | registry: `documents_are_what_was_asked_for_…`; registry_bytes: `bombs_for_documents_…`; transports: `documents_with_two_meanings_…` |
//! | A108 | registry_hosts: `an_error_is_no_reason_…`; cli registry_faults: `the_first_answer_…` |
//! | A109 | signatures: `a109_…`; cli registry_signatures: `signatures_go_along_…`; compat trust: both comparisons with skopeo |
//! | A110 | registry: `endless_answers_…`, `a_gigabyte_of_words_…`; registry_bytes: `an_encoding_…`; registry_bytes: `a_pause_of_a_million_seconds_…`; signatures: `a110_…`; cli registry_signatures: `signatures_come_from_a_server_too`; transports: `documents_without_measure_…` |
//! | A111 | registry_hosts: `a_greeting_of_tls_…`; registry: `endless_answers_…`; no C library parses what comes from a registry or a signature; gpgv is a process of its own |
//! | A112 | cli: the tests of `add` with addresses |
//! | A113, A114 | cli urls: `a_repository_is_fetched_without_what_it_would_start`; the tables of `container::fetch::address` |
//! | A115, A117 | cli urls: the same; git speaks http and https only, checks what it fetches, and never runs in a context |
//! | A116, A118, A119 | cli urls: `a_repository_is_asked_at_its_own_address_…`; there is no ssh |
//! | A137 | the tables of `archive::decompress`: windows, ratio, members without end; cli `memory` |
//! | A139 | registry_bytes: `bombs_for_documents_…`, `indexes_in_indexes_…`; golang: the table of nesting; conf: that of YAML; transports: `documents_without_measure_…` |
//! | A120, A123 | process: `abstract_sockets_…`, `without_a_network_…` |
//! | A121, A122 | network; cli network: `the_loopback_of_the_machine_…` |
//! | A124 | images: `planted_programs_and_libraries_…` |
//! | A125, A128 | private_places: `another_user_who_knows_every_name_…`, `a_store_that_is_open_…`; other_users: `another_user_reads_nothing_…` |
//! | A126 | private_places: `names_in_a_shared_directory_…`, `a_runtime_directory_…`; other_users: `a_run_root_…`; sources: `a_cache_directory_…`; conf: the table of run roots |
//! | A127 | other_users: `locks_are_files_and_not_links` |
//! | A143–A146 | output; registry_bytes: `words_of_a_server_…`, also A147 |

mod build_contexts;
mod build_mounts;
mod chroot;
#[path = "../harness/mod.rs"]
mod harness;
mod images;
mod mounts;
mod network;
mod other_users;
mod output;
mod paths;
mod private_places;
mod probe;
mod process;
mod races;
mod registry;
mod registry_answers;
mod registry_bytes;
mod registry_hosts;
mod signatures;
mod sources;
