# ruff: noqa: RUF001 - full-width punctuation is how Chinese is written
"""The network's codes: which event an error type is, and what a reason means.

Reasons: Q/CUP 006.6-2015, A.3 (报文原因码), those that concern an acquirer of POS sales. Error types of
ERRA rows: as POSPs map them (public code), none of it confirmed by the network, nor are the function
codes of IPM [unverified]; a link may have others, so `EVENT_OF` is a default that settings replace.
"""

from typing import Final

from settlement.disputes.table import Event

# error type -> event. E84 names no original: it goes to a case by itself.
EVENT_OF: Final[dict[str, Event]] = {
    "E05": "fulfilled",  # 调单回复
    "E22": "claim",  # 请款
    "E23": "chargeback",  # 退单
    "E24": "representment",  # 再请款
    "E25": "second_chargeback",  # 二次退单
    "E32": "credit_adjustment",  # 贷记调整
    "E73": "award",  # 差错例外
    "E74": "manual_refund",  # 能查找到原始交易的手工退货
    "E84": "manual_refund",  # 不能查找到原始交易的手工退货
    # Mastercard IPM, MTI/DE 24
    "1442/450": "chargeback",  # first, full amount
    "1442/453": "chargeback",  # first, partial
    "1240/205": "representment",  # second presentment, full amount
    "1240/282": "representment",  # second presentment, partial
    "1442/451": "second_chargeback",  # arbitration chargeback, full amount
    "1442/454": "second_chargeback",  # arbitration chargeback, partial
}

# reason -> (English, Chinese), in the standard's order
REASONS: Final[dict[str, tuple[str, str]]] = {
    "2005": ("Correct merchant location provided", "正确的商户地址"),
    "2008": ("Transaction authorized by issuer", "交易得到发卡机构授权"),
    "2702": ("Invalid first chargeback", "无效的一次退单"),
    "2704": ("Legible transaction receipt provided", "提供清晰的交易凭证"),
    "2706": ("Acquirer can prove that the transaction is correct", "收单机构证明原交易无误"),
    "2707": ("Illegible supporting documentation for chargeback", "支持退单的文件不清晰"),
    "4502": ("Purchase not completed", "消费未成功，已扣账"),
    "4503": ("Dispute on debit adjustment", "对请款交易有争议"),
    "4507": ("Cardholder dispute, amount differs", "持卡人对交易金额有争议"),
    "4508": ("Exceeds authorized amount", "交易金额超过授权金额"),
    "4512": ("Duplicate processing", "交易重复提交清算"),
    "4514": ("Fraudulent multiple transactions", "疑似欺诈的多笔交易"),
    "4515": ("Transaction not recognized", "持卡人否认已完成的交易"),
    "4522": ("Declined authorization", "交易未被批准"),
    "4526": ("Illegible fulfilment", "收单机构书面说明未收到或凭证不清晰"),
    "4527": ("Fulfilment not received, or with code 04", "收单机构查复超过时限或回复码为 04"),
    "4528": ("Cancelled pre-authorization", "已取消的预授权交易"),
    "4531": ("Questionable transaction receipt", "持卡人对消费签单其他内容有争议"),
    "4532": ("Refund not processed", "退货交易资金未提交清算"),
    "4536": ("Late presentment", "逾期提交结算"),
    "4544": ("Cancelled transaction", "已撤消的交易"),
    "4557": ("Settled, but goods or services not received", "已扣账，但未收到商品或服务"),
    "4558": ("Verification of the transaction certificate fails", "交易证书 TC 验证失败"),
    "4559": ("Transaction certificate can not be provided", "不能提供 TC 及相关计算数据"),
    "4562": ("Counterfeit card", "伪卡欺诈"),
    "4570": ("Invalid representment", "再请款不正确"),
    "4571": ("New supporting documentation provided", "发卡机构提供一次退单中缺少的证明资料"),
    "4572": ("Chargeback reason adjusted", "发卡机构纠正一次退单原因"),
    "4752": ("Fee refund for unsuccessful balance inquiry", "余额查询未成功，索还手续费"),
    "4802": ("High risk merchant", "高风险商户"),
    "4803": ("Prohibited merchant", "违规拓展商户"),
    "4806": ("Paid by other means", "以其他方式支付"),
    "4810": ("Cardholder denies a transaction not face to face", "持卡人否认交易-非面对面交易"),
    "6301": ("Merchant name or address inquiry", "持卡人查询消费商户地址或名称"),
    "6302": ("Transaction result inquiry", "持卡人查询原始交易是否成功"),
    "6303": ("Receipt request by cardholder", "持卡人对原始交易有疑问直接索取交易凭证"),
    "6304": ("Receipt request after a responded inquiry", "持卡人查询完成后需要索取交易凭证"),
    "6305": ("Receipt request after an unresponded inquiry", "查询后未查复而索取交易凭证"),
    "6309": ("Inquiry for a prohibited merchant", "查核商户是否违规拓展商户"),
    "6340": ("Second inquiry", "发卡机构查询后仍有疑问，进行二次查询"),
    "6343": ("Receipt request by justice", "司法需要索取交易凭证"),
    "6345": ("Receipt request for fraudulent transactions", "欺诈分析需要索取交易凭证"),
    "9600": ("Transaction cancelled by cardholder", "交易被持卡人取消"),
    "9601": ("Surplus identified by acquirer", "收单机构发现长款"),
    "9650": ("Amount differs, purchase", "实际消费金额大于记账金额"),
    "9652": ("Incorrect credit adjustment", "贷记调整或退货失误"),
    "9653": ("Late pre-authorization completion", "延期预授权完成"),
    "9654": ("Abnormal reversal", "异常冲正交易"),
    "9655": ("Abnormal cancellation", "异常撤销交易"),
    "9656": ("Amount differs due to system malfunction", "系统故障导致清算金额小于消费金额"),
    "9657": ("Incorrect credit adjustment or manual refund", "贷记调整或手工退货失误"),
    "9701": ("Questionable first chargeback of a debit card", "对发卡机构借记卡一次退单有疑义"),
    "9702": ("Deficit of transaction amount at acquirer", "收单机构原始交易短款"),
    "9703": ("Time frame exceeded", "超过提交时限的差错交易"),
    "9704": ("General dispute cycle ended", "差错处理流程已经结束但仍未解决"),
    "9705": ("Transaction record not found at the network", "中心未找到原始交易记录"),
    "9706": ("Other mutually agreed payment", "其它经协商同意付款的交易"),
    "9707": ("Manual refund", "手工退货"),
    "9720": ("Collection, amount less than the purchase", "交易金额小于消费金额"),
    "9722": ("Collection, incorrect refund", "退货失误"),
    "9723": ("Collection, late pre-authorization completion", "延期预授权完成"),
    "9724": ("Collection, abnormal reversal", "异常冲正交易"),
    "9725": ("Collection, abnormal cancellation", "异常撤销交易"),
}


def meaning(reason: str, *, chinese: bool = False) -> str:
    """What a reason means; the code itself where the table does not know it.

    >>> meaning("4512"), meaning("0001")
    ('Duplicate processing', '0001')
    """
    return REASONS[reason][int(chinese)] if reason in REASONS else reason
