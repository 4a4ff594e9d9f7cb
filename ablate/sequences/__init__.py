"""Estimators of language-model post-training: B prompts, N sampled answers each, a reward at the end of an answer.

    g = sum_bi w_bi A_bi S_bi,     S_bi = sum_t grad log pi(token_t | prompt, tokens before t)

| room           | what it holds                                                                         |
|----------------|---------------------------------------------------------------------------------------|
| advantages     | A, from the rewards [..., B, N] of a batch                                            |
| aggregations   | w, from the lengths [..., B, N]: what a sum over tokens is divided by                 |
| problem        | token problems small enough to list every answer, tabular policies by prefix          |
| exact          | mean, bias and variance of an estimator, summed over all batches; no sampling         |
| random_prompts | the same of prompts drawn at random, and dynamic sampling                             |
| objective      | how prompts and answers count in the mean, by difficulty and length                   |
| epochs         | several gradient steps on the answers of one batch, clipped or not                    |
| kl             | estimators of KL(pi || ref) and of its gradient                                       |
| definitions    | which advantage and aggregation a function equals                                     |
| mistakes       | what a function equals that is no definition: a known advantage with one mistake       |
| distortions    | a known advantage of other rewards, or with other weights by length                    |
| descriptions   | what an advantage is that equals neither, found by measuring it                       |
| surrogates     | what a loss makes of importance ratios, and how it clips them                         |
| penalties      | the term of a loss in a reference policy: k1, k2 or k3, its coefficient and sign      |
| subject        | the function under audit                                                              |
| audit          | another trainer's advantage or loss, run on small token problems                      |
| findings       | what an audit found, and its page                                                     |
| pass_rates     | pass rates of many prompts: dead groups, noise and the best group size at a budget    |
"""
