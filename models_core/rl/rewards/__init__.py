"""Where the rewards of PPO's answers come from, and what becomes of them before a policy learns from them.

| --reward | source |
| --- | --- |
| a folder, a name of the catalogue, a Hub id, or several of them parted by commas | reward models (`reward_models`) |
| package.module:function | a function of Python, for experiments (`functions`) |
| http://host/v1, https://host/v1 | a chat model behind OpenAI's protocol that grades answers (`judge`) |

`naming` tells them apart, `rewards` is what the recipe calls: a raw score from the source, less that of the reference's
answer, put on a scale and clipped, and beside it named terms for length, format and a missing end. Their sum is the
score that PPO learns from. Nothing is imported here: `naming` is read by processes that must not load torch.
"""
