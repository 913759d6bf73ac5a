"""Mouse gene symbols of the made-up tissue: who expresses what, and genes that fill the transcriptome.

The symbols are real and the markers are those that textbooks and cell atlases name; their expression levels
are drawn by the generator and mean nothing.
"""

from __future__ import annotations


def _symbols(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Cell type -> genes that mark it. A symbol may mark two types, as in life.
MARKERS: dict[str, tuple[str, ...]] = {
    "L2/3 IT": _symbols(
        """Cux2 Otof Cux1 Rasgrf2 Nectin3 Stard8 Wfs1 Matn2 Mdga1 Pou3f2 Inhba Ptgs2 Cdh13 Agmat Calb1
        Gucy1a1"""
    ),
    "L4 IT": _symbols(
        """Rorb Rspo1 Scnn1a Endou Whrn Tmem215 Kcnh5 Batf3 Pamr1 Brinp3 Hsd11b1 Plcxd2 Thsd7a Il1rapl2
        Galnt14 Rora"""
    ),
    "L5 IT": _symbols(
        """Deptor Etv1 Kcnn2 Dkkl1 Myl4 Parm1 Col6a1 Ddit4l Tunar Cdh20 Hs3st2 Sulf2 Tshz2 Pde1c Lmo3
        Cpne7"""
    ),
    "L5 ET": _symbols(
        """Fezf2 Bcl11b Npr3 Pou3f1 Slco2a1 Vat1l Crym Chst8 Gprin3 Stac Adcyap1 Nefh Lratd2 Parvb Sema5a
        Necab2"""
    ),
    "L6 CT": _symbols(
        """Foxp2 Tle4 Ntsr1 Syt6 Rprm Hs3st4 Garnl3 Sla Trbc2 Cdh18 Rxfp1 Cpa6 Zfpm2 Nxph3 Col5a1 Tbr1"""
    ),
    "Pvalb": _symbols(
        """Pvalb Tac1 Cox6a2 Kcnc1 Lhx6 Syt2 Pthlh Tmem132c Gpr149 Il7 Cntnap4 Eya4 Akr1c18 Kcns3 Vwc2
        Ankrd34b"""
    ),
    "Sst": _symbols(
        """Sst Chodl Nos1 Crh Cbln4 Grin3a Elfn1 Pdyn Crhbp Lypd6 Rab3b Hpse Nmbr Tacr1 Satb1 Myh8"""
    ),
    "Vip": _symbols(
        """Vip Crispld2 Calb2 Chat Htr3a Tac2 Prox1 Adarb2 Cxcl14 Synpr Slc5a7 Nr2f2 Mybpc1 Penk Igf1 Cck"""
    ),
    "Lamp5": _symbols(
        """Lamp5 Ndnf Npy Reln Lsp1 Sv2c Kit Pde11a Dock5 Pax6 Krt73 Hapln1 Id2 Egln3 Sncg Rgs12"""
    ),
    "Astro": _symbols(
        """Aqp4 Gfap Aldh1l1 Gja1 Slc1a2 Slc1a3 Aldoc S100b Fgfr3 Ntsr2 Acsbg1 Slc39a12 Gjb6 Mlc1 Sox9
        Clu"""
    ),
    "Oligo": _symbols("""Mbp Plp1 Mog Mag Mobp Cnp Opalin Mal Cldn11 Aspa Ugt8a Ermn Hapln2 Trf Gjb1 Fa2h"""),
    "OPC": _symbols(
        """Pdgfra Cspg4 Olig1 Olig2 Gpr17 Sox10 Neu4 C1ql1 Lhfpl3 Vcan Ptprz1 Tnr Cspg5 Bcan Matn4 Pcdh15"""
    ),
    "Micro": _symbols(
        """Csf1r C1qa C1qb Cx3cr1 P2ry12 Tmem119 Hexb Trem2 Tyrobp Ctss Aif1 Itgam Ly86 Siglech Laptm5
        Selplg"""
    ),
    "Endo": _symbols(
        """Cldn5 Flt1 Pecam1 Tek Cdh5 Kdr Emcn Ly6c1 Ly6a Slco1a4 Abcb1a Egfl7 Esam Itm2a Adgrl4 Slc2a1"""
    ),
}

# Class -> genes that all its types share.
CLASS_MARKERS: dict[str, tuple[str, ...]] = {
    "excitatory": _symbols(
        """Slc17a7 Satb2 Neurod6 Neurod2 Camk2a Nrn1 Nrgn Arpp21 Ptk2b Baiap2 Lmo4 Slc30a3 Mef2c Nptx1"""
    ),
    "inhibitory": _symbols(
        """Gad1 Gad2 Slc32a1 Dlx1 Dlx2 Dlx5 Dlx6 Slc6a1 Arx Maf Npas1 Dlx6os1 Erbb4 Kcnip1"""
    ),
    "neuron": _symbols(
        """Snap25 Syt1 Rbfox3 Stmn2 Map2 Tubb3 Nefl Nefm Syn1 Syn2 Snhg11 Meg3 Celf4 Elavl3 Elavl4 Uchl1"""
    ),
    "glia": _symbols("""Qk Dbi Sox2 Zbtb20 Glul Cst3 Apoe Sparc Ttyh1 Sparcl1"""),
}

CLASS_OF: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("L2/3 IT", "L4 IT", "L5 IT", "L5 ET", "L6 CT"), ("excitatory", "neuron")),
    **dict.fromkeys(("Pvalb", "Sst", "Vip", "Lamp5"), ("inhibitory", "neuron")),
    **dict.fromkeys(("Astro", "Oligo", "OPC"), ("glia",)),
    "Micro": (),
    "Endo": (),
}

# Switched on together in some neurons, whatever their type: variation that is not cell type.
ACTIVITY = _symbols("Fos Arc Egr1 Egr2 Egr4 Junb Fosb Nr4a1 Nr4a3 Npas4 Dusp1 Btg2 Ier2 Bdnf")

# Every panel has these: designers never leave them out.
CORE: tuple[str, ...] = ("Slc17a7", "Gad1", "Snap25", "Apoe")

# Everything else. Families are spelled out by their stem and their members' endings.
_FAMILIES: tuple[tuple[str, str], ...] = (
    (
        "",
        """Actb Gapdh Ubb Ubc Eef1a1 Eef1a2 Tuba1a Calm1 Calm2 Ckb Aldoa Eno1 Eno2 Pgk1 Ldha Ldhb Mdh1
        Pkm Ywhag Ywhaz Gnas Gnao1 Gnb1 Ptn Basp1 Gap43 Stmn1 Stmn3 Stmn4 Thy1 Vsnl1 Hpca Olfm1 Cplx1
        Cplx2 Cplx3 Stx1a Stx1b Stxbp1 Vamp1 Vamp2 Sv2a Sv2b Syp Syngr1 Bsn Pclo Rims1 Rims2 Erc2
        Unc13a Unc13c Dlg2 Dlg4 Shank1 Shank2 Shank3 Homer1 Homer2 Syngap1 Ncam1 Ncam2 L1cam Nrcam
        Chl1 Tenm1 Tenm2 Tenm3 Tenm4 Lsamp Opcml Negr1 Csmd1 Csmd3 Dpp6 Dpp10 Ank2 Ank3 Sptbn1 Dst
        Macf1 Dlgap1 Dlgap2 Magi1 Magi2 Rbfox1 Celf2 Nova1 Ntrk2 Ntrk3 Ngfr Gfra1 Gfra2 Ret Crhr1 Oxtr
        Sstr1 Sstr2 Vipr1 Trhr Grp Nts Cartpt Gal Pnoc Nmb Rspo2 Rspo3 Dkk3 Spon1 Postn Thbs1 Thbs2
        Timp3 Mgp Lum Dcn Acta2 Tagln Pdgfrb Vtn Kcnj8 Abcc9 Lyz2 Mrc1 Cd74 Spp1 Cd63 Cd9 Lgals1 Vim
        Nes Mki67 Top2a Tmsb4x Tmsb10 Ptgds Fabp7 Malat1 Xist""",
    ),
    ("Gabr", "a1 a2 a3 a4 a5 b1 b2 b3 g1 g2 g3 d"),
    ("Gabbr", "1 2"),
    ("Gri", "a1 a2 a3 a4 k1 k2 k3 k4 k5 n1 n2a n2b n2c n2d n3b d1 d2"),
    ("Grm", "1 2 3 4 5 6 7 8"),
    (
        "Kcn",
        """a1 a2 a3 a4 a5 a6 b1 b2 c2 c3 c4 d2 d3 q2 q3 q5 j3 j4 j6 j9 j10 k1 k2 k3 k9 n1 n3 ab1 ab2 ip2
        ip3 ip4""",
    ),
    ("Scn", "1a 2a 3a 8a 1b 2b 3b 4b"),
    ("Cacna1", "a b c d e g h i"),
    ("Cacna2d", "1 2 3"),
    ("Cacnb", "1 2 3 4"),
    ("Cacng", "2 3 4 5 7 8"),
    ("Syt", "3 4 5 7 9 10 11 12 13 17"),
    ("Htr", "1a 1b 1d 1f 2a 2c 4 5a 6 7"),
    ("Drd", "1 2 3 4 5"),
    ("Adra", "1a 1b 1d 2a 2c"),
    ("Chrm", "1 2 3 4"),
    ("Chrn", "a3 a4 a5 a7 b2 b4"),
    ("Npy", "1r 2r 5r"),
    ("Opr", "d1 k1 l1 m1"),
    ("Cdh", "2 4 6 7 8 9 10 11 12"),
    ("Pcdh", "7 8 9 10 11x 17 18 19 20"),
    ("Sema", "3a 3c 3d 3e 3f 4a 4d 4g 5b 6a 6b 6d 7a"),
    ("Plxn", "a1 a2 a4 b1 b2 c1 d1"),
    ("Eph", "a3 a4 a5 a6 a7 a10 b1 b2 b3 b6"),
    ("Efn", "a1 a2 a3 a5 b1 b2 b3"),
    ("Robo", "1 2"),
    ("Slit", "1 2 3"),
    ("Unc5", "a b c d"),
    ("Ntn", "1 4 g1 g2"),
    ("Nrxn", "1 2 3"),
    ("Nlgn", "1 2 3"),
    ("Lrrtm", "1 2 3 4"),
    ("Flrt", "1 2 3"),
    ("Cntn", "1 2 3 4 5 6 ap1 ap2 ap5a ap5b"),
    ("Nxph", "1 2 4"),
    ("Cbln", "1 2"),
    ("C1ql", "2 3"),
    ("Wnt", "2 4 5a 5b 7a 7b 10a"),
    ("Fzd", "1 3 5 7 8"),
    ("Fgf", "1 9 10 11 12 13 14 18"),
    ("Fgfr", "1 2"),
    ("Igfbp", "2 3 4 5 6 7"),
    ("Bmp", "2 3 4 6 7"),
    ("Pde", "1a 1b 2a 4b 4d 7b 8a 9a 10a"),
    ("Prk", "ca cb cd ce cg cz"),
    ("Adcy", "1 2 5 8 9"),
    ("Rgs", "2 4 5 6 7 8 9 10 14 20"),
    ("Camk", "1 1d 1g 2b 2d 2g 4 k1 k2"),
    ("Ppp", "1r1a 1r1b 2r2b 2r2c 3ca 3r1"),
    ("Slc", "12a2 12a5 17a6 17a8 18a2 22a3 24a2 24a3 25a4 35f1 44a5 4a10 6a6 6a7 7a10 8a1 8a2"),
    ("Atp", "1a1 1a2 1a3 1b1 2b1 2b2 2b4 5b 6v0c"),
    ("Tcf", "4 7l2 12"),
    ("Zic", "1 2 3"),
    ("Lmo", "1 2"),
    ("Lhx", "2 5"),
    ("Meis", "1 2 3"),
    ("Sox", "4 5 6 8 11 17"),
    ("Nfi", "a b c x"),
    ("Pbx", "1 2 3"),
    ("Col", "1a1 1a2 3a1 4a1 4a2 5a2 11a1 12a1 15a1 18a1 19a1 23a1 24a1 25a1 27a1"),
    ("Tubb", "2a 2b 4a 4b 5"),
    ("Rpl", "3 4 5 8 10 13 19 32"),
    ("Rps", "2 3 5 6 8 14 18 27"),
    ("Hsp", "a5 a8 90aa1 90ab1 d1"),
    ("Ndufa", "1 2 4 5"),
    ("Cox", "4i1 5a 6c 7c 8a"),
)
FILLERS: tuple[str, ...] = tuple(stem + end for stem, ends in _FAMILIES for end in ends.split())


def transcriptome(n_genes: int) -> list[str]:
    """Return every marker and then as many fillers as ``n_genes`` asks for, without repeats."""
    named = [g for genes in (*MARKERS.values(), *CLASS_MARKERS.values(), ACTIVITY) for g in genes]
    return list(dict.fromkeys([*named, *FILLERS]))[:n_genes]
