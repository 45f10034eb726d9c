##@ AVIX experiments (72-sample grid unless said otherwise)

# All of the grid but a tenth trains, and that tenth validates and tests: docs/avix.md.
AVIX_MODE = data.avix_training_mode=true

avq avix-quick: $(READY) ## The smallest run, to check that everything works
	$(call train,experiment=avix_quick)

av avix avix-cnn-72dss: $(READY) ## CNN 11k, cross-entropy
	$(call train,experiment=avix_cnn_72dss)

aj avixj avix-cnn-72dss-jnd: $(READY) ## CNN 11k, heads weighted by JND steps
	$(call train,experiment=avix_cnn_72dss_jnd)

acnn64 avix-cnn-64k: $(READY) ## CNN 64k, heads weighted by JND steps
	$(call train,experiment=avix_cnn_72dss_64k_jnd)

ac16 avix-cnn-16kdss: $(READY) ## CNN 64k on 16384 random samples
	$(call train,experiment=avix_cnn_16kdss)

avixo avix-ordinal: $(READY) ## SimpleDenseNet 64k in AVIX mode with the ordinal L1 loss
	$(call train,experiment=avix_densenet_72dss_64k_jnd_avix)

amlp avix-mlp: $(READY) ## MLP 11k
	$(call train,experiment=avix_mlp_72dss_jnd)

amlp64 avix-mlp-64k: $(READY) ## MLP 64k
	$(call train,experiment=avix_mlp_72dss_64k_jnd)

adn avix-densenet avix-simple-dense-net: $(READY) ## SimpleDenseNet 11k
	$(call train,experiment=avix_densenet_72dss_jnd)

asdn64 avix-simple-dense-net-64k: $(READY) ## SimpleDenseNet 64k
	$(call train,experiment=avix_densenet_72dss_64k_jnd)

asdn64a avix-simple-dense-net-64k-avix: $(READY) ## The same in AVIX mode: all of the grid but a tenth trains
	$(call train,experiment=avix_densenet_72dss_64k_jnd $(AVIX_MODE))

asdn128 avix-simple-dense-net-128k: $(READY) ## SimpleDenseNet 128k
	$(call train,experiment=avix_densenet_72dss_128k_jnd)

avit avix-vit: $(READY) ## ViT 11k
	$(call train,experiment=avix_vit_72dss_jnd)

avit64 avix-vit-64k: $(READY) ## ViT 64k
	$(call train,experiment=avix_vit_72dss_64k_jnd)

avit16 avix-vit-16kdss: $(READY) ## ViT 210k on 16384 random samples
	$(call train,experiment=avix_vit_16kdss)

acnx16 avix-convnext-16kdss: $(READY) ## ConvNeXt 210k on 16384 random samples
	$(call train,experiment=avix_convnext_16kdss)

awh avix-wide-hybrid: $(READY) ## CNN hybrid on simple_wide, 16384 samples
	$(call train,experiment=simple_wide_cnn_hybrid)

a3h avix-3p-hybrid: $(READY) ## CNN hybrid on simple_3p, 32768 samples of 64x64
	$(call train,experiment=simple_3p_cnn_hybrid)

anh avix-noisy-hybrid: $(READY) ## The same on simple_noisy
	$(call train,experiment=simple_noisy_cnn_hybrid)

amx avix-mixed: $(READY) ## A class beside numbers: saw or square, cutoff and decay
	$(call train,experiment=mixed_cnn)

##@ Direct gradient (names that end in x, and dgt dgct dglw dgro: in AVIX mode)

# What dglw and dgro vary.
DGX = experiment=avix_densenet_72dss_64k_jnd_dg_unnormalized $(AVIX_MODE)

dgtr dgt1m direct-gradient-training direct_gradient_training_1m: $(READY) ## The smallest example: CNN 11k
	$(call train,experiment=direct_gradient_training)

dgb asdn64dgb avix-simple-dense-net-64k-direct-gradient-baseline: $(READY) ## Baseline: SimpleDenseNet 64k with direct gradients
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg)

dgbx asdn64dgbx avix-simple-dense-net-64k-direct-gradient-baseline-avix: $(READY) ## The baseline in AVIX mode, with a constant learning rate
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_fixed $(AVIX_MODE))

dgbs dg-simple: $(READY) ## The baseline with nothing but the loss: no head weights, no margin
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_simple)

dgx asdn64dgx avix-simple-dense-net-64k-direct-gradient-unnormalized: $(READY) ## The image left alone (unnormalised), in AVIX mode
	$(call train,$(DGX))

dgn asdn64dgn avix-simple-dense-net-64k-direct-gradient-normalized: $(READY) ## Both envelopes divided out on the fly (normalised)
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_normalized)

dgnx asdn64dgnx avix-simple-dense-net-64k-direct-gradient-normalized-avix: $(READY) ## The same channels, made with the data set (precomputed), in AVIX mode
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_normalized_precomputed $(AVIX_MODE))

dgnf dgn-fixed: $(READY) ## dgn with a constant learning rate
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_normalized model=avix_densenet_64k_jnd_dg_fixed)

dgf dg-features: $(READY) ## Both envelopes beside the image, on the fly
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_features)

dgfe dg-features-envelope: $(READY) ## Only the temporal envelope, selected out of them
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_envelope)

dglw dg-loss-weighted: $(READY) ## dgx with lr 0.0005, clipping 0.05, decay time weighted 3, early stopping after 50
	$(call train,$(DGX) model.optimizer.lr=0.0005 trainer.gradient_clip_val=0.05 \
	 model.loss_weights.log10_decay_time=3.0 model.loss_weights.note_velocity=1.0 \
	 callbacks.early_stopping.patience=50)

dgro dg-rmsprop: $(READY) ## dgx with RMSprop of lr 0.001 and momentum 0.9, clipping 0.1
	$(call train,$(DGX) model/optimizer=rmsprop model.optimizer.lr=0.001 \
	 model.optimizer.momentum=0.9 trainer.gradient_clip_val=0.1)

dgwr direct-gradient-weighted-loss-rms-optimizer: dglw dgro ## dglw, and then dgro

# The trial's batch of 64 took all 50 samples at once. Of the 65 in AVIX mode it would leave one over,
# and BatchNorm cannot train on one.
dgt dg-tuned: $(READY) ## SimpleDenseNet 64k with the settings that a sweep found, in AVIX mode
	$(call train,experiment=avix_densenet_72dss_jnd_dg_tuned $(AVIX_MODE) data.batch_size=65)

dgct dg-cnn-tuned: $(READY) ## CNN 64k with the settings that a sweep found, in AVIX mode
	$(call train,experiment=avix_cnn_72dss_jnd_dg_tuned $(AVIX_MODE))

dgch dg-cnn-hybrid: $(READY) ## The main job: CNN with auxiliary features and direct-gradient heads
	$(call train,experiment=avix_cnn_72dss_jnd_dg_hybrid)

dgw direct-gradient-winner: dgch ## The best of them, the same as dgch

dgw3 direct-gradient-winner-repeated: $(READY) ## The same with three seeds, and a table
	$(call train,-m experiment=avix_cnn_72dss_jnd_dg_hybrid seed=1$(COMMA)2$(COMMA)3 \
	 extras.print_config=false)

dge direct-gradient-experiments: dgtr dgb dgbx dgbs dgx dgn dgnx dgnf dgf dgfe dglw dgro dgt dgct dgch ## All of them, one after the other

##@ Comparison of losses and networks (docs/results.md)

su suite: $(READY) ## Every loss and network with seeds: about 2 h on 2 cores, resumes where it stopped (ARGS=--quick)
	@$(RUN) benchmarks/suite.py $(ARGS)
