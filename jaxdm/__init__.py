"""In-context decision making in pure JAX. Read the modules in this order; each imports only those above it.

Ground
    types                   records that cross module borders; the protocols of worlds, agents and networks
    randomness              jax.random's numbers, faster on a CPU; gamma variates by inversion
    numerics                small numerical pieces: sampling by inverse CDF, masked means, casts
    storage                 results on disk, whole or not at all; numpy only
    progress                progress of long work on the terminal

Worlds
    envs.mdp                the finite MDP: record, check, simulator
    envs.families           families of MDPs: Dirichlet, Garnet, dark room, chain, machine replacement
    envs.pomdp              the finite POMDP: record, check, simulator, observation quality
    envs.pomdp_families     families of POMDPs: random ones seen with quality q, tiger, maintenance, treatment
    envs.cassandra_grammar  the grammar of .POMDP and .MDP files: statements, names, numbers, and where they stand
    envs.cassandra          problems read from such files and written to them
    envs.apomdp             ambiguous POMDPs: a set of models, an attitude, a simulator
    envs.apomdp_families    sets of models: around a nominal one, and clinicians who disagree about a treatment
    envs.rooms              rooms whose controls have hidden moods, as a POMDP or as models that disagree
    envs.linear_mdp         finite-horizon MDPs whose rewards and kernels are linear in features
    envs.losses             laws of loss sequences: iid, trends, walks, periodic, alternating, switching
    envs.online             full-information online learning: decision sets, reacting adversaries, direct play
    envs.bandit             Bernoulli and Gaussian bandits, stationary or drifting: record, check, simulators
    envs.drifts             families of bandits: uniform, one gap, linear; switching, wandering, seasonal

Truth
    oracles.bellman         one Bellman backup and its rounding: what certificates are made of
    oracles.planning        backward induction, value iteration, policy iteration
    oracles.policies        the value of a given policy, and where it goes
    oracles.hindsight       the best that could have been played against known losses
    oracles.regret          every definition of regret, as a course over rounds
    oracles.attack          gradient ascent on loss sequences, through the learner
    oracles.belief          Bayes' rule for hidden states; how far rounding carries a plan on beliefs
    oracles.belief_graph    the beliefs that histories lead to, equal ones merged
    oracles.belief_planning  exact POMDP planning on that graph, for a horizon or for ever
    oracles.belief_tree     exact POMDP planning on the whole tree of histories, for jit and vmap
    oracles.alpha_vectors   POMDP policies given by vectors: point-based ones, QMDP, myopic
    oracles.value_bounds    bounds on a POMDP's value from both sides, tightened belief by belief
    oracles.point_based     planning in larger POMDPs until a certified gap is closed
    oracles.ambiguity_tree  Bayes' rule under several models at once, along all histories
    oracles.ambiguity       alpha-maxmin planning, exact on the tree of histories
    oracles.ambiguity_graph  the same with equal histories merged, for long horizons
    oracles.ambiguity_bounds  certified bounds for long horizons: finite windows, belief grids
    oracles.ambiguity_lookahead  a short exact tree with those bounds at its leaves, and its agent
    oracles.ambiguity_policies  what a given policy is worth, by the recursion and model by model
    oracles.information     planning on a given graph of what is worth remembering, exact for any horizon
    oracles.bandit          Gittins indices, Bayes-optimal play, regret

Evidence
    episodes                agent x world -> episode in one scan; the agent that plays a given policy
    tasks                   an instance with its oracle, as tables of information states; teachers, loss along episodes
    prompts                 episodes as tokens, and what is to be predicted at each

Rivals
    learners.bandit         UCB and its forgetful variants, KL-UCB, epsilon-greedy, successive elimination
    learners.thompson       Thompson sampling with Beta and normal posteriors
    learners.exponential    exponential weights with bandit feedback
    learners.tabular        random play, the demonstrations' vote, the certainty-equivalent planner
    learners.online         FTRL, Hedge, gradient descent, perturbed and plain follow-the-leader

Minds
    models.attention        softmax, linear and ReLU attention; positions; keys and values
    models.transformer      the decoder, full or bare, behind the `Network` boundary
    models.constructions    hand-set weights that compute a named algorithm
    models.agent            a network as an agent with a growing, cached context
    models.player           a network with numerical tokens as a player of bandits and online learning

Learning
    objectives              what networks are trained to predict
    trainer                 fused training steps; exact resume
    finetuning              pretraining and supervised fine-tuning: teachers, settings, items, stage losses
    games                   families of worlds with a regret, and the record of one rollout
    solved_games            solved worlds as such a game: regret from the oracle's values
    distillation            iterative regret-minimisation fine-tuning
    rivals                  losses of its rivals: imitating other players, descending regret

Judgement
    statistics              intervals over seeds, exponents, the trend test, anytime-valid intervals; no jax
    exploration             how a bandit player explored: SuffFailFreq, MinFrac, GreedyFrac; no jax
    evaluation              optimality gaps and agreement with the oracle on held-out tasks
"""
