##@ AVIX experiments (72-sample grid unless said otherwise)

avq avix-quick: $(READY) ## The smallest run: is everything in place?
	$(call train,experiment=avix_quick)

av avix: $(READY) ## CNN 11k, cross-entropy
	$(call train,experiment=avix_cnn_72dss)

aj avixj: $(READY) ## CNN 11k, heads weighted by JND steps
	$(call train,experiment=avix_cnn_72dss_jnd)

acnn64 avix-cnn-64k: $(READY) ## CNN 64k, heads weighted by JND steps
	$(call train,experiment=avix_cnn_72dss_64k_jnd)

ac16 avix-cnn-16kdss: $(READY) ## CNN 64k on 16384 random samples
	$(call train,experiment=avix_cnn_16kdss)

avixo avix-ordinal: $(READY) ## CNN 11k with the ordinal loss
	$(call train,experiment=avix_cnn_72dss_jnd loss=ordinal)

amlp avix-mlp: $(READY) ## MLP 11k
	$(call train,experiment=avix_mlp_72dss_jnd)

amlp64 avix-mlp-64k: $(READY) ## MLP 64k
	$(call train,experiment=avix_mlp_72dss_64k_jnd)

adn avix-simple-dense-net: $(READY) ## SimpleDenseNet 11k
	$(call train,experiment=avix_densenet_72dss_jnd)

asdn64 avix-simple-dense-net-64k: $(READY) ## SimpleDenseNet 64k
	$(call train,experiment=avix_densenet_72dss_64k_jnd)

asdn64a avix-simple-dense-net-64k-avix: $(READY) ## The same in AVIX mode: all of the grid but a tenth trains
	$(call train,experiment=avix_densenet_72dss_64k_jnd_avix)

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

##@ Direct gradient

dgtr direct-gradient-training: $(READY) ## The smallest example: CNN 11k
	$(call train,experiment=direct_gradient_training)

dgb asdn64dgb: $(READY) ## Baseline: SimpleDenseNet 64k with direct gradients
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg)

dgbx asdn64dgbx: $(READY) ## The baseline with nothing but the loss: no head weights, no margin
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_simple)

dgx asdn64dgx: $(READY) ## The image left alone (unnormalised)
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_unnormalized)

dgn asdn64dgn: $(READY) ## Both envelopes divided out on the fly (normalised)
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_normalized)

dgnx asdn64dgnx: $(READY) ## The same channels, made with the data set (precomputed)
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_normalized_precomputed)

dgnf dgn-fixed: $(READY) ## dgn with a learning rate that stays as it is
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_fixed)

dgf dg-features: $(READY) ## Both envelopes beside the image, on the fly
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_features)

dgfe dg-features-envelope: $(READY) ## Only the temporal envelope, selected out of them
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_envelope)

dglw dg-loss-weighted: $(READY) ## dgx with the decay-time head weighted 3
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_unnormalized model.loss_weights.log10_decay_time=3.0)

dgro dg-rmsprop: $(READY) ## dgx with RMSprop
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg_unnormalized model/optimizer=rmsprop)

dgt dg-tuned: $(READY) ## SimpleDenseNet 64k with the settings that a sweep found
	$(call train,experiment=avix_densenet_72dss_jnd_dg_tuned)

dgt1m dg-tuned-1m: $(READY) ## The same with a million weights
	$(call train,experiment=avix_densenet_72dss_jnd_dg_tuned \
	 model.net.lin1_size=768 model.net.lin2_size=256 model.net.lin3_size=64)

dgct dg-cnn-tuned: $(READY) ## CNN 64k with the settings that a sweep found
	$(call train,experiment=avix_cnn_72dss_jnd_dg_tuned)

dgch dg-cnn-hybrid: $(READY) ## The main job: CNN with auxiliary features and direct-gradient heads
	$(call train,experiment=avix_cnn_72dss_jnd_dg_hybrid)

dgw direct-gradient-winner: dgch ## The best of them: the same as dgch

dgwr direct-gradient-winner-repeated: $(READY) ## The same with three seeds, and a table
	$(call train,-m experiment=avix_cnn_72dss_jnd_dg_hybrid seed=1$(COMMA)2$(COMMA)3 \
	 extras.print_config=false)

dge direct-gradient-experiments: dgtr dgb dgbx dgx dgn dgnx dgnf dgf dgfe dglw dgro dgt dgct dgch ## All of them, one after the other

##@ Comparison of losses and networks (docs/results.md)

su suite: $(READY) ## Every loss and network with seeds: about 2 h on 2 cores, goes on where stopped (ARGS=--quick)
	@$(RUN) benchmarks/suite.py $(ARGS)
