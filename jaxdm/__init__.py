"""In-context decision making in pure JAX. Read the modules in this order; each imports only those above it.

Ground
    types                   records that cross module borders; the protocols of worlds, agents and networks
    random                  jax.random's numbers, faster on a CPU; sampling by inverse CDF
    validation              how bad input is refused
    numerics                masked means, batched maps, casts
    rollout                 agent x world -> episode in one scan; the agent that plays a given policy

After a run (numpy, scipy and xarray only)
    analysis.storage        results on disk, whole or not at all
    analysis.statistics     intervals over seeds, exponents
    analysis.claims         the record of a claim, and every way it can hold
    analysis.exploration    how a bandit player explored: SuffFailFreq, MinFrac, GreedyFrac

Worlds: a record, its check, its simulator
    envs.mdp                the finite MDP
    envs.sparse_mdp         MDPs in which few states can follow: indices and probabilities
    envs.pomdp              the finite POMDP, with observation quality
    envs.cassandra          .POMDP and .MDP files
    envs.apomdp             ambiguous POMDPs: a set of models, an attitude
    envs.linear_mdp         finite-horizon MDPs whose rewards and kernels are linear in features
    envs.online             full-information online learning: decision sets, reacting adversaries, direct play
    envs.bandit             Bernoulli and Gaussian bandits, stationary or drifting

Families: key -> instance
    envs.families.mdp       Dirichlet, Garnet, dark room, chain, machine replacement
    envs.families.pomdp     random ones seen with quality q, tiger, maintenance, treatment
    envs.families.apomdp    around a nominal model, and clinicians who disagree about a treatment
    envs.families.rooms     rooms whose controls have hidden modes, as a POMDP or as models that disagree
    envs.families.bandit    uniform, one gap, linear; switching, wandering, seasonal
    envs.families.losses    distributions of loss sequences: iid, trends, walks, periodic, alternating, switching

Evidence
    tokens                  episodes as tokens: tabular, bandit, online

Truth
    oracles.graph_policy    a graph of histories, the agent that follows a policy on it, the nodes along an episode
    oracles.mdp.bellman     one Bellman backup and its rounding: what certificates are made of
    oracles.mdp.planning    backward induction, value iteration, policy iteration
    oracles.mdp.sparse      the same in sparse MDPs, with modified policy iteration
    oracles.mdp.evaluation  the value of a given policy, and where it goes
    oracles.history_backup  one backup on histories and its rounding, for every planner of hidden states
    oracles.pomdp.belief    Bayes' rule for hidden states; how far rounding carries a plan on beliefs
    oracles.pomdp.belief_graph   the beliefs that histories lead to, equal ones merged
    oracles.pomdp.exact     exact planning on that graph, for a horizon or for ever
    oracles.pomdp.alpha_vectors  policies given by vectors: point-based ones, QMDP, myopic
    oracles.pomdp.bounds    bounds on a value from both sides, and trials that tighten them, for jit and vmap
    oracles.pomdp.point_based    planning in larger POMDPs until a certified gap is closed
    oracles.apomdp.history_tree  alpha-maxmin planning, exact on the tree of histories
    oracles.apomdp.history_graph  the same with equal histories merged, for long horizons
    oracles.apomdp.bounds   certified bounds for long horizons: finite windows, belief grids
    oracles.apomdp.lookahead     a short exact tree with those bounds at its leaves, and its agent
    oracles.apomdp.evaluation    what a given policy is worth, by the recursion and model by model
    oracles.apomdp.information_states  planning on a given graph of what is worth remembering, for any horizon
    oracles.pomdp.history_tree   exact planning on the whole tree of histories, for jit and vmap
    oracles.regret          every regret and its comparators, as a curve over rounds
    oracles.attack          worst losses by gradient ascent through the learner
    oracles.bandit          Gittins indices, Bayes-optimal play, regret

Learners
    learners.bandit         UCB and its forgetful variants, KL-UCB, epsilon-greedy, successive elimination
    learners.gamma          gamma variates by inversion
    learners.thompson       Thompson sampling with Beta and normal posteriors
    learners.exp3           exponential weights with bandit feedback
    learners.imperfect      players that fail to explore: teachers of a base that struggles
    learners.online         FTRL, Hedge, gradient descent, perturbed and plain follow-the-leader
    learners.episodic       tabular learners that change their policy between episodes, and their histories
    learners.tabular        random play, the demonstrations' vote, the certainty-equivalent planner

Networks
    models.attention        softmax, linear and ReLU attention; positions; keys and values
    models.transformer      the decoder, full or bare, behind the `Network` boundary
    models.constructions    hand-set weights that compute a named algorithm
    models.agents           networks that act, one cached step a decision
    sweep                   one function at many points, spread over devices and processes, within their memory
    trainer                 fused training steps; exact resume

Paper 1
    sft.tasks               solved instances as tables of information states
    sft.experts             demonstrators that know what the oracle knows
    sft.data                demonstrations, query, labels
    sft.pretraining         many families, mixed and improving behaviour, no labels
    sft.offline             a fixed set of sequences, gathered or read from a file
    sft.losses              pretraining and fine-tuning
    sft.posterior           Bayes' rule over an enumeration of a family, and the agent that plays by it
    sft.worlds              any world with an oracle as a family of tasks
    sft.evaluation          optimality gaps and agreement with the oracle on held-out tasks

Paper 2
    rmft.games              bandits and online learning as games with a regret
    rmft.oracle_game        MDPs and POMDPs as such a game
    rmft.distillation       the algorithm: roll out, select, imitate
    rmft.baselines          imitating other players, optimal-arm labels, the regret loss

Language
    language.decoder        open-weight decoders (Llama, Qwen) on plain trees; caches with shared prefixes
    language.tokenizer      text as tokens, chat templates, padding
    language.weights        checkpoints on disk: GGUF and safetensors, to the last tensor
    language.lora           low-rank adapters, trained beside the weights, merged, stored, handed on
    language.sampling       many replies in one compiled loop: stop strings, constrained decisions, log-probabilities
    language.verbal         decisions asked for in words: contexts, prompts, parsers
    language.speakers       players who say why; kinds of rationales, and whether they are so
    language.play           text in, text out, in the worlds of envs, with their regret
    language.files          closed models: requests, replies and chats to fine-tune on, by files alone
    language.finetuning     replies as rows, and the loss of a decoder or an adapter on them
"""
