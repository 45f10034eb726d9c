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

amlp avix-mlp: $(READY) ## MLP 11k
	$(call train,experiment=avix_mlp_72dss_jnd)

asdn64 avix-simple-dense-net-64k: $(READY) ## SimpleDenseNet 64k
	$(call train,experiment=avix_densenet_72dss_64k_jnd)

awh avix-wide-hybrid: $(READY) ## CNN hybrid on simple_wide, 16384 samples
	$(call train,experiment=simple_wide_cnn_hybrid)

##@ Direct gradient

dgb asdn64dgb: $(READY) ## Baseline: SimpleDenseNet 64k with direct gradients
	$(call train,experiment=avix_densenet_72dss_64k_jnd_dg)

dgbx asdn64dgbx: $(READY) ## SimpleDenseNet 64k in AVIX mode: all of the grid but a tenth trains
	$(call train,experiment=avix_densenet_72dss_64k_jnd_avix)

dgch dg-cnn-hybrid: $(READY) ## The main job: CNN with auxiliary features and direct-gradient heads
	$(call train,experiment=avix_cnn_72dss_jnd_dg_hybrid)

dgw direct-gradient-winner: dgch ## The best of them: the same as dgch
