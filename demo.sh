#!/usr/bin/env bash
# The whole story in small, in two minutes of processor time: a tiny base, what English and what
# multilingual QA training make of it, and a board that contrasts them. `make demo` runs this. What
# is finished is not done again, and what was interrupted goes on.
set -euo pipefail
demo=${1:-demo}
export OMP_NUM_THREADS=1 # models this small gain nothing from more: two are trained side by side

# A tiny base: vectors of word pieces, built on the spot, and then masked language modelling.
xharness train xharness/demo --intermediate demo_text --out "$demo/tiny-base" --quiet

# Its variants, three seeds of each: the same questions, in English or spread over five languages.
for seed in 0 1 2; do
    for data in en multilingual; do
        echo "'$demo/tiny-base' --intermediate demo_qa_$data --seed $seed" \
            "--out '$demo/tiny-qa-$data-$seed' --quiet"
    done
done | xargs -L 1 -P 2 xharness train

# All of them on seven tasks that none was trained on, one row per example: retrieval with frozen
# vectors, and the others with a head that is trained alike on every checkpoint.
printf "'%s'\n" "$demo"/tiny-* | xargs -n 4 -P 2 \
    xharness eval --suite demo --finetune --out "$demo/leaderboard/results" --quiet >/dev/null

# Training wrote a submission beside each checkpoint: its base, its data, its recipe and seed.
mkdir -p "$demo/submissions"
for checkpoint in "$demo"/tiny-*; do
    cp "$checkpoint/submission.yaml" "$demo/submissions/${checkpoint##*/}.yaml"
done

# The board, from rows and submissions; and the answer to its question.
xharness leaderboard --root "$demo"
xharness contrast --root "$demo"
echo "These checkpoints show how xharness works, and nothing about languages or training."
echo "The page: $demo/leaderboard/README.md; to browse: $demo/leaderboard/index.html"
