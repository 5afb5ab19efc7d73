"""Working commands about PINs, cards and chips, for `examples.py`; the values in them are reckoned here."""

from hsm import (
    card_values,
    ciphers,
    dukpt_aes,
    dukpt_tdes,
    emv_cryptograms,
    emv_keys,
    emv_profiles,
    pin_block,
    pin_verify,
)
from hsm.dukpt_aes import AesKeyType, AesUsage
from hsm.dukpt_tdes import TdesUsage
from hsm.emv_profiles import EmvProfile
from hsm.keys import Algorithm, KeyUsage
from tests.hsm.host.examples import (
    ACCOUNT,
    AES_KEY,
    KEY,
    KSN,
    OTHER,
    PAN,
    fuzzed_host,
    in_block,
    pin,
    text,
)

TABLE = "0123456789012345"
TEMPLATE = "1122334455N6"
VALIDATION = "1122334455253216"
AES_KSN = "123456789012345600000001"
CARD = bytes.fromhex("5000002532110100")
ATC, NUMBER = bytes.fromhex("0123"), bytes.fromhex("89ABCDEF")
DATA = bytes(range(40))


def stored(clear: str = "1234") -> str:
    return fuzzed_host().vault.variant.encrypt_pin(clear, ACCOUNT, 13)


def sealed_table() -> str:
    return fuzzed_host().vault.variant.encrypt_decimalisation_table(TABLE)


def offset(clear: str = "1234") -> str:
    return pin_verify.offset_of_pin(OTHER, VALIDATION, TABLE, clear).ljust(12, "F")


def pvv(clear: str = "1234") -> str:
    return pin_verify.pvv(OTHER, ACCOUNT, "1", clear)


def dukpt_pin(clear: str = "1234") -> str:
    initial = dukpt_tdes.initial_key(KEY, bytes.fromhex(KSN))
    transaction = dukpt_tdes.transaction_key(initial, bytes.fromhex(KSN))
    key = dukpt_tdes.working_key(transaction, TdesUsage.PIN)
    return ciphers.tdes_ecb_encrypt(key, pin_block.encode_format0(clear, PAN)).hex().upper()


def aes_dukpt_pin(clear: str = "1234") -> str:
    ksn = bytes.fromhex(AES_KSN)
    derivation = dukpt_aes.derivation_key(dukpt_aes.initial_key(AES_KEY, ksn[:8]), ksn)
    key = dukpt_aes.working_key(derivation, ksn, AesUsage.PIN, AesKeyType.AES128)
    return pin_block.encode_format4(key, clear, PAN, bytes(8)).hex().upper()


def profile_cryptogram(profile: EmvProfile, key: bytes) -> bytes:
    if profile.cipher == "SM4":
        master = emv_keys.master_key_sm4(key, CARD)
    else:
        master = emv_keys.master_key(key, CARD)
    session = emv_profiles.session_key(profile, master, {"9F36": ATC, "9F37": NUMBER})
    if profile.cipher == "SM4":
        return emv_cryptograms.application_cryptogram_sm4(session, DATA)
    return emv_cryptograms.application_cryptogram(session, DATA, 1)


def kq(mode: str, scheme: str, key: str, profile: str, clear: bytes = KEY) -> bytes:
    made = profile_cryptogram(emv_profiles.profile_named(profile), clear)
    data = b"%02X" % len(DATA) + DATA + b";" if mode in "01" else b""
    code = b"00" if mode in "12" else b""
    return f"KQ{mode}{scheme}{key}".encode() + CARD + ATC + NUMBER + data + made + code


def kw(mode: str, scheme: str, key: str) -> bytes:
    master = emv_keys.master_key(KEY, CARD)
    tree = b"1" if scheme == "0" else b""
    if tree:
        session = emv_keys.emv2000_session_key(master, ATC)
    else:
        session = emv_keys.common_session_key(master, emv_keys.r_of_atc(ATC))
    made = emv_cryptograms.application_cryptogram(session, DATA, 1)
    data = b"%02X" % len(DATA) + DATA + b";" if mode in "013" else b""
    end = b"00" if mode in "12" else b"\1\2\3\0042ab" if mode in "34" else b""
    return f"KW{mode}{scheme}{key}".encode() + CARD + tree + ATC + data + made + end


def ku(mode: str, scheme: str, destination: str = "34") -> bytes:
    session = bytes(6) + ATC
    command = f"KU{mode}{scheme}{text(KEY, '209')}".encode() + CARD + session
    command += b"%04X" % len(DATA) + DATA + b";"
    if mode == "0":
        return command
    command += text(OTHER, "309").encode() + session + b"00140008" + bytes.fromhex(pin(KEY))
    command += f";1{text(KEY, '002')}01{destination}{ACCOUNT}".encode()
    return command + (text(OTHER, "109").encode() if destination == "41" else b"")


def pin_examples() -> dict[str, list[bytes]]:
    """Command code -> commands that end with 00."""
    tpk, zpk, pvk = text(KEY, "002"), text(KEY, "001"), text(OTHER, "002")
    bdk, cvk, mk_ac = text(KEY, "009"), text(KEY, "402"), text(KEY, "109")
    tpk_block, zpk_block = in_block(KeyUsage.TPK, KEY), in_block(KeyUsage.ZPK, OTHER)
    aes_block = in_block(KeyUsage.ZPK, AES_KEY, Algorithm.AES)
    aes_bdk = in_block(KeyUsage.BDK, AES_KEY, Algorithm.AES)
    ibm_block, visa_block = in_block(KeyUsage.PVK_IBM, OTHER), in_block(KeyUsage.PVK_VISA, OTHER)
    under_aes = pin_block.encode_format4(AES_KEY, "1234", PAN, bytes(8)).hex().upper()
    ibm = f"04{ACCOUNT}{sealed_table()}{TEMPLATE}"
    visa = f"{ACCOUNT}1{pvv()}"
    card = "4123456789012345;8701101"
    found: dict[str, list[str]] = {
        "CA": [
            f"CA{tpk}{text(OTHER, '001')}12{pin(KEY)}0147{ACCOUNT}",
            f"CA{tpk_block}{aes_block}12{pin(KEY)}0148{PAN}",
        ],
        "CC": [f"CC{aes_block}{zpk_block}12{under_aes}4801{PAN}"],
        "CI": [f"CI{bdk}{text(OTHER, '001')}605{KSN}{dukpt_pin()}01{ACCOUNT}"],
        "G0": [
            f"G0{bdk}{text(OTHER, '001')}605{KSN}{dukpt_pin()}0147{ACCOUNT}",
            f"G0*{bdk}{text(OTHER, '001')}605{KSN[4:]}{dukpt_pin()}0101{ACCOUNT}",
            f"G0{aes_bdk}{zpk_block}888{AES_KSN}{aes_dukpt_pin()}4801{PAN}",
        ],
        "JC": [f"JC{tpk}{pin(KEY)}01{ACCOUNT}"],
        "JE": [f"JE{zpk}{pin(KEY)}01{ACCOUNT}", f"JE{aes_block}{under_aes}48{PAN}"],
        "JG": [f"JG{zpk}01{ACCOUNT}{stored()}", f"JG{aes_block}48{PAN};{stored()}"],
        "JA": [f"JA{ACCOUNT}", f"JA{ACCOUNT}06"],
        "BA": [f"BA1234FFFFFFFFF{ACCOUNT}"],
        "BG": [f"BG{ACCOUNT}{stored()}"],
        "QK": [f"QK{stored()}{ACCOUNT}{ACCOUNT[::-1]}"],
        "DA": [
            f"DA{tpk}{pvk}12{pin(KEY)}01{ibm}{offset()}",
            f"DA{tpk_block}{ibm_block}12{pin(KEY)}01{ibm}{offset()}",
        ],
        "EA": [f"EA{zpk}{pvk}12{pin(KEY)}01{ibm}{offset()}"],
        "DC": [f"DC{tpk}{pvk}{pin(KEY)}01{visa}", f"DC{tpk_block}{visa_block}{pin(KEY)}01{visa}"],
        "EC": [f"EC{zpk}{pvk}{pin(KEY)}01{visa}"],
        "DE": [f"DE{pvk}{stored()}{ibm}"],
        "BK": [f"BK001{zpk}{pvk}{pin(KEY)}01{ibm}"],
        "DU": [f"DU002{tpk}{pvk}{pin(KEY)}01{ibm}{offset()}{pin(KEY)}"],
        "EE": [f"EE{pvk}{offset()}{ibm}"],
        "DG": [f"DG{pvk}{stored()}{ACCOUNT}1"],
        "FW": [f"FW001{zpk}{pvk}{pin(KEY)}01{ACCOUNT}1"],
        "CU": [
            f"CU002{tpk}{pvk}{pin(KEY)}01{visa}{pin(KEY)}",
            f"CUFFF{tpk_block}{visa_block}{pin(KEY)}01{visa}{pin(KEY)}",
        ],
        "CK": [f"CK{bdk}{pvk}605{KSN}{dukpt_pin()}{ibm}{offset()}"],
        "CM": [f"CM{bdk}{pvk}605{KSN}{dukpt_pin()}{visa}"],
        "GO": [f"GO0{bdk}{pvk}605{KSN}{dukpt_pin()}01{ibm}{offset()}"],
        "GQ": [
            f"GQ0{bdk}{pvk}605{KSN}{dukpt_pin()}01{visa}",
            f"GQ0{aes_bdk}{visa_block}888{AES_KSN}{aes_dukpt_pin()}48{PAN};1{pvv()}",
        ],
        "LO": [f"LO{TABLE}"],
        "CW": [f"CW{cvk}{card}", f"CW{in_block(KeyUsage.CVK, KEY)}{card}"],
        "CY": [f"CY{cvk}{card_values.card_value(KEY, '4123456789012345', '8701', '101')}{card}"],
    }
    made = {code: [command.encode() for command in row] for code, row in found.items()}
    made["KQ"] = [
        kq("0", "0", mk_ac, "visa-cvn10"),
        kq("1", "1", mk_ac, "mastercard-cvn16"),
        kq("2", "C", in_block(KeyUsage.MK_AC, KEY), "unionpay-uics"),
        kq("1", "B", mk_ac, "pboc"),
        kq("1", "B", in_block(KeyUsage.MK_AC, OTHER, Algorithm.SM4), "pboc-sm4", OTHER),
    ]
    made["KW"] = [kw(mode, scheme, mk_ac) for mode in "01234" for scheme in "02"]
    made["KU"] = [ku("0", "0"), ku("0", "1"), ku("4", "1"), ku("4", "0"), ku("4", "0", "41")]
    return made
