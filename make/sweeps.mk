##@ Sweeps and comparisons (docs/sweeps.md)

# $(call) would take a comma for its next argument.
COMMA := ,

avo avix-optuna: $(READY) ## Search for the main job's settings; the same target resumes it
	@$(RUN) src/train.py hparams_search=avix_optuna experiment=avix_cnn_72dss_jnd_dg_hybrid $(ARGS)

ca compare-arch: $(READY) ## Dense network, CNN, ViT and ConvNeXt on MNIST, three epochs each, and a table
	$(call train,-m data=mnist model=mnist_sdn_68k$(COMMA)mnist_cnn_68k$(COMMA)mnist_vit_38k$(COMMA)mnist_convnext_68k \
	 trainer.max_epochs=3 'tags=[arch_comparison]' extras.print_config=false)

caa compare-arch-avix: $(READY) ## AVIX networks of 11k weights, one short run each, and a table
	$(call train,-m data=avix_72dss model=avix_cnn_11k$(COMMA)avix_densenet_11k_jnd$(COMMA)avix_mlp_11k_jnd$(COMMA)avix_vit_11k_jnd \
	 trainer.max_epochs=50 trainer.log_every_n_steps=1 extras.print_config=false)

aac avix-architecture-comparison: $(READY) ## The same as caa, for 300 epochs with three seeds each
	$(call train,hparams_search=avix_architecture_comparison)

aac64 avix-architecture-comparison-64k: $(READY) ## The same with 64k weights
	$(call train,hparams_search=avix_architecture_comparison_64k)

asdnsc avix-densenet-size-comparison avix-simple-dense-net-size-comparison: $(READY) ## SimpleDenseNet in three sizes, three seeds each
	$(call train,hparams_search=avix_densenet_size_comparison)

cmp compare: $(READY) ## Runs side by side: settings, figures, curves (ARGS="RUN RUN..."; else the two newest)
	@$(PYTHON) src/compare.py $(ARGS)

mrt multirun-table: $(READY) ## The table of the newest multirun or sweep (ARGS=its folder)
	@$(PYTHON) -m src.sweeps.multirun_table $(ARGS)
