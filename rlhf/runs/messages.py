"""The messages that a training job stores by their code, see annotate.data.stored_messages."""

from django.utils.translation import gettext_noop

MESSAGES = {
    # Inputs of a run.
    "no_reward_model": gettext_noop("%(project)s has no reward model yet. Train one first."),
    "run_without_snapshot": gettext_noop("The run has no snapshot to train on."),
    "snapshot_failed": gettext_noop("The snapshot could not be built: %(error)s"),
    "snapshot_damaged": gettext_noop("%(snapshot)s is damaged: %(problems)s"),
    "snapshot_without_train_rows": gettext_noop("%(snapshot)s has no rows of train prompts to train on."),
    "not_a_model": gettext_noop(
        "%(name)s names no model. Python functions and servers are rewards for the command line alone."
    ),
    "model_files_missing": gettext_noop("The files of %(version)s are missing: there is no folder %(folder)s."),
    "model_files_changed": gettext_noop(
        "The files of %(version)s in %(folder)s differ from those that were stored (SHA-256)."
    ),
    "no_prompts": gettext_noop("%(project)s has no prompts to sample from. Import some first."),
    "no_train_prompts": gettext_noop("%(project)s has no train prompts. Import some first."),
    "no_test_prompts": gettext_noop("%(project)s has no test prompts to evaluate on."),
    "no_corpus": gettext_noop("There is no .txt or .jsonl file %(name)s in %(folder)s."),
    "too_few_comparisons": gettext_noop(
        "Fewer than two open comparisons can be ordered: the others are judged, or keep a random position."
    ),
    "benchmark_file_missing": gettext_noop("The file %(file)s of this run is not on the worker’s machine."),
    "not_a_policy": gettext_noop("%(version)s is a reward model: it scores responses and generates none."),
    "ai_endpoint_missing": gettext_noop(
        "This site has no AI server named %(endpoint)s. Its operator names them in HONE_AI_ENDPOINTS."
    ),
    # Faults of a served model in the playground.
    "served_without_key": gettext_noop(
        "The key of the server %(endpoint)s is missing: its environment variable %(variable)s is not set for the "
        "worker."
    ),
    "served_unreachable": gettext_noop("The server %(endpoint)s could not be reached: %(reason)s."),
    "served_untrusted": gettext_noop("The server %(endpoint)s cannot be trusted: %(reason)s."),
    "served_key_refused": gettext_noop(
        "The server %(endpoint)s refuses the key (status %(status)s), which the operator of this site sets."
    ),
    "served_busy": gettext_noop(
        "The server %(endpoint)s takes no more requests for now (status 429). Try again in a while."
    ),
    "served_failed": gettext_noop("The server %(endpoint)s failed (status %(status)s): %(reason)s"),
    "served_refused": gettext_noop("The server %(endpoint)s refuses the request (status %(status)s): %(reason)s"),
    "served_reported": gettext_noop("The server %(endpoint)s ended its reply with an error: %(reason)s"),
    "served_cut": gettext_noop("The server %(endpoint)s broke the connection off before its reply was complete."),
    "served_silent": gettext_noop("The server %(endpoint)s sent nothing for %(seconds)s seconds."),
    "served_unanswered": gettext_noop("The server %(endpoint)s did not begin to reply within %(seconds)s seconds."),
    "served_slow": gettext_noop(
        "The reply of the server %(endpoint)s was not complete after %(seconds)s seconds, the most that it has."
    ),
    "served_endless": gettext_noop("The reply of the server %(endpoint)s does not end: too much of it has come."),
    "served_unreadable": gettext_noop(
        "The server %(endpoint)s sent something else than OpenAI’s protocol, so its reply can’t be read."
    ),
    "ai_judge_changed": gettext_noop(
        "What %(labeler)s judges with was changed since the run began. Start a new run for the new version."
    ),
    # Notes of a run.
    "no_held_out_demonstration": gettext_noop(
        "No demonstration is held out yet, so the loss is measured on a part of the train prompts."
    ),
    "no_held_out_judgment": gettext_noop(
        "No judgment is held out yet, so the accuracy is measured on a part of the train prompts."
    ),
    "no_held_out_prompt": gettext_noop(
        "No prompt is held out yet, so the loss is measured on a part of the train prompts."
    ),
    "few_new_prompts": gettext_noop(
        "Only %(new)s of %(all)s train prompts are new to the reward model, fewer than a batch of %(enough)s, so PPO "
        "used all of them."
    ),
    "previous_reward_model_missing": gettext_noop(
        "The files of the previous reward model are missing, so it was not measured on new judgments."
    ),
    "trained_on_project_texts": gettext_noop("The corpus was the project’s train prompts and their demonstrations."),
    # Resources.
    "too_many_processes": gettext_noop(
        "%(processes)s processes are more than the %(cores)s processor cores of the workers’ machine."
    ),
    "too_few_gpus": gettext_noop(
        "%(processes)s processes need a GPU each, and no worker has more than %(gpus)s. Take fewer processes, or give "
        "workers more GPUs (HONE_GPUS_PER_WORKER)."
    ),
    "too_little_gpu_memory": gettext_noop(
        "This run needs at least %(needed)s of memory on each GPU, and the workers’ GPUs have %(offered)s. Split the "
        "weights over more processes (parallel=fsdp), or use a method that trains fewer weights, such as lora."
    ),
    "too_little_memory": gettext_noop(
        "This run needs at least %(needed)s of memory, and the workers’ machine has %(offered)s. Reduce the number of "
        "processes, max_length or batch_size, or use a method that trains fewer weights, such as lora."
    ),
    "measured_too_much_memory": gettext_noop(
        "A step of this shape was measured to need %(needed)s of memory, and the workers’ machine has %(offered)s. "
        "Reduce max_tokens_per_forward, max_length or batch_size, or use a method that trains fewer weights, such as "
        "lora."
    ),
    "too_little_disk": gettext_noop(
        "This run may write %(needed)s (up to %(checkpoints)s checkpoints of %(each)s, and the model), and %(free)s of "
        "the disk are free for it. Keep fewer checkpoints (keep_checkpoints), or free some space."
    ),
    "disk_nearly_full": gettext_noop(
        "Only %(free)s are free below the data folder, and %(reserved)s of it are reserved for labeling. Free some "
        "space, then start the run again."
    ),
    # Failures of a run.
    "out_of_memory": gettext_noop(
        "Out of memory. Reduce batch_size, max_tokens_per_forward or max_length, or use a machine with more memory."
    ),
    "out_of_gpu_memory": gettext_noop(
        "The GPU ran out of memory. The run needed at least %(needed)s for its weights, and the GPU has %(offered)s. "
        "Reduce batch_size, max_tokens_per_forward or max_length, or use a GPU with more memory."
    ),
    "smaller_forward_passes": gettext_noop(
        "Attempt %(attempt)s ran out of memory. The next one computes %(after)s tokens in a forward pass in place of "
        "%(before)s: slower, with the same batch and the same result."
    ),
    "fewer_responses_at_once": gettext_noop(
        "Attempt %(attempt)s ran out of memory. The next one generates %(after)s responses at once in place of "
        "%(before)s."
    ),
    "stalled": gettext_noop(
        "Its process stopped making progress in each attempt and was ended. The end of the log says where."
    ),
    "killed": gettext_noop(
        "Its process was killed (signal 9) in each attempt. This system doesn’t say whether it ran out of memory."
    ),
    "ended_by_signal": gettext_noop(
        "Its process was ended by signal %(number)s (%(name)s) in each attempt. The kernel reports no lack of memory."
    ),
    "ended_silently": gettext_noop("Its process ended with exit status %(status)s and without a message."),
    "process_message": gettext_noop("Its process reported: %(message)s"),
    "file_error": gettext_noop("A file could not be read or written: %(error)s."),
    "internal_error": gettext_noop("Internal error (%(error)s). The worker’s log has the details."),
    "workers_lost": gettext_noop("Its worker went silent %(times)s times; the last one was %(worker)s."),
    "no_worker": gettext_noop("No worker consumed the queue %(queue)s for %(hours)s hours."),
    "sampling_cancelled": gettext_noop("The sampling run was cancelled."),
    # Ends of an evaluation.
    "evaluation_run_failed": gettext_noop("The responses of %(version)s could not be sampled: %(error)s"),
    # Ends of a round.
    "round_cancelled": gettext_noop("Cancelled manually."),
    "round_run_failed": gettext_noop("A run of the round failed (%(stage)s): %(error)s"),
    "round_run_cancelled": gettext_noop("A run of the round was cancelled (%(stage)s)."),
    "gate_without_number": gettext_noop("The gate %(gate)s needs a metric that the run did not report."),
    "gate_reward_accuracy": gettext_noop("The reward model’s accuracy of %(value)s is below the gate of %(bound)s."),
    "gate_kl": gettext_noop("The policy’s KL divergence of %(value)s is above the gate of %(bound)s."),
    "gate_newest_accuracy": gettext_noop(
        "The reward model’s accuracy of %(value)s on the newest judgments is below the gate of %(bound)s."
    ),
    "gate_length": gettext_noop("The policy’s mean response length of %(value)s is above the gate of %(bound)s."),
    "gate_win_rate": gettext_noop(
        "The lower bound of %(value)s of the policy’s win rate by people is below the gate of %(bound)s."
    ),
    "round_evaluation_failed": gettext_noop("The evaluation by people failed: %(error)s"),
    "round_evaluation_cancelled": gettext_noop(
        "Evaluation %(number)s, which the gate of the win rate waited for, was cancelled."
    ),
    # Ends of a rolling update.
    "rolling_superseded": gettext_noop("Another reward model was put into use meanwhile: %(version)s."),
    "rolling_gate": gettext_noop(
        "Its accuracy of %(value)s on recent held-out judgments is below the gate of %(bound)s."
    ),
    "rolling_not_measured": gettext_noop("The gate needs its accuracy on held-out judgments, and none is held out."),
    # Notifications that did not arrive.
    "webhook_address": gettext_noop("A webhook is an http:// or https:// address without a password in it."),
    "webhook_private": gettext_noop(
        "The address belongs to this machine or to a private network; HONE_PRIVATE_WEBHOOKS=1 allows such addresses."
    ),
    "webhook_unreachable": gettext_noop("The server could not be reached: %(error)s."),
    "webhook_refused": gettext_noop("The server replied with status %(status)s."),
    "delivery_expired": gettext_noop("It did not arrive within %(days)s days, and nobody tries any more."),
    "email_not_sent": gettext_noop("The e-mail could not be sent: %(error)s."),
    "no_report": gettext_noop("The reward model has no report."),
}
