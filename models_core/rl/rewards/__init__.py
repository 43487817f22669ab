"""Rewards of rollouts: where scores come from, and how they are shaped before a policy is updated.

| --reward | source | module |
| --- | --- | --- |
| a folder, a catalogue name or a Hub id, or several separated by commas | reward models | `rollout_rewards` |
| package.module:function | a Python function, for experiments | `function` |
| http://host/v1, https://host/v1 | an LLM judge behind OpenAI's protocol | `llm_judge` |

contract.reward_names tells them apart. `pipeline` is what the recipe calls: raw scores, minus the score of the
reference's response, normalised and clipped, plus terms for length, format and a missing end-of-sequence (`shaping`).
"""
