##@ Sweeps and comparisons (docs/sweeps.md)

# $(call) would take a comma for its next argument.
COMMA := ,

avo avix-optuna: $(READY) ## Search for the main job's settings; the same target again goes on
	@$(RUN) src/train.py hparams_search=avix_optuna experiment=avix_cnn_72dss_jnd_dg_hybrid $(ARGS)

ca compare-arch: $(READY) ## AVIX networks of 11k weights, one short run each, and a table
	$(call train,-m data=avix_72dss model=avix_cnn_11k$(COMMA)avix_densenet_11k_jnd$(COMMA)avix_mlp_11k_jnd$(COMMA)avix_vit_11k_jnd \
	 trainer.max_epochs=50 trainer.log_every_n_steps=1 extras.print_config=false)

aac avix-architecture-comparison: $(READY) ## The same for 300 epochs with three seeds each
	$(call train,hparams_search=avix_architecture_comparison)

aac64 avix-architecture-comparison-64k: $(READY) ## The same with 64k weights
	$(call train,hparams_search=avix_architecture_comparison_64k)

asdnsc avix-densenet-size-comparison: $(READY) ## SimpleDenseNet in three sizes, three seeds each
	$(call train,hparams_search=avix_densenet_size_comparison)

mrt multirun-table: $(READY) ## The table of the newest multirun or sweep (ARGS=its folder)
	@$(PYTHON) -m src.utils.multirun_table $(ARGS)
