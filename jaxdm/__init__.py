"""In-context decision making in pure JAX. Read the modules in this order; each imports only those above it.

Ground
    types                   records that cross module borders; the protocols of worlds, agents and networks
    numerics                small numerical pieces: sampling by inverse CDF, masked means, casts
    storage                 results on disk, whole or not at all; numpy only
    progress                progress of long work on the terminal

Worlds
    envs.mdp                the finite MDP: record, check, simulator
    envs.families           families of MDPs: Dirichlet, Garnet, dark room, chain, machine replacement
    envs.linear_mdp         finite-horizon MDPs whose rewards and kernels are linear in features
    envs.losses             laws of loss sequences: iid, trends, walks, periodic, alternating, switching
    envs.online             full-information online learning: decision sets, reacting adversaries, direct play

Truth
    oracles.bellman         one Bellman backup and its rounding: what certificates are made of
    oracles.planning        backward induction, value iteration, policy iteration
    oracles.policies        the value of a given policy, and where it goes
    oracles.hindsight       the best that could have been played against known losses
    oracles.regret          every definition of regret, as a course over rounds
    oracles.attack          gradient ascent on loss sequences, through the learner

Evidence
    episodes                agent x world -> episode in one scan; the agent that plays a given policy
    tasks                   an instance with its oracle: labels, best and random value, loss along an episode
    prompts                 episodes as tokens, and what is to be predicted at each

Rivals
    learners.tabular        random play, the demonstrations' vote, the certainty-equivalent planner
    learners.online         FTRL, Hedge, gradient descent, perturbed and plain follow-the-leader

Minds
    models.attention        softmax, linear and ReLU attention; positions; keys and values
    models.transformer      the decoder, full or bare, behind the `Network` boundary
    models.constructions    hand-set weights that compute a named algorithm
    models.agent            a network as an agent with a growing, cached context

Learning
    objectives              what networks are trained to predict
    trainer                 fused training steps; exact resume
    finetuning              pretraining and supervised fine-tuning: settings, items, stage losses

Judgement
    statistics              intervals over seeds, exponents, the trend test, anytime-valid intervals; no jax
    exploration             how a bandit player explored: SuffFailFreq, MinFrac, GreedyFrac; no jax
    evaluation              optimality gaps on held-out tasks
"""
