"""A project to look around in: prompts written for Hone, and responses of a real language model to rank at once.

prompts.jsonl     English prompts of all kinds and use cases of InstructGPT (Ouyang et al. 2022, section 3.2)
prompts_zh.jsonl  a few in Simplified Chinese, which the small base model can't response; for projects in that language
responses.jsonl   four responses each to some of the English prompts by SmolLM2-135M-Instruct, made by
                  `python -m models_core sample` with the model, settings and seed that each row records
guidelines.md     what labelers are asked to do
"""

from pathlib import Path

FOLDER = Path(__file__).parent
PROMPTS = FOLDER / "prompts.jsonl"
PROMPTS_ZH = FOLDER / "prompts_zh.jsonl"
RESPONSES = FOLDER / "responses.jsonl"
GUIDELINES = FOLDER / "guidelines.md"
