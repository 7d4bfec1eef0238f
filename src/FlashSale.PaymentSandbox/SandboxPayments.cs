using System.Security.Cryptography;
using System.Text.Json.Serialization;

namespace FlashSale.PaymentSandbox;

/// <summary>The state of a payment at the provider.</summary>
public enum PaymentStatus
{
    /// <summary>The payment waits for the shopper.</summary>
    [JsonStringEnumMemberName("open")]
    Open,

    /// <summary>The payment is paid.</summary>
    [JsonStringEnumMemberName("paid")]
    Paid,

    /// <summary>The payment was paid, and the money is on its way back.</summary>
    [JsonStringEnumMemberName("refunding")]
    Refunding,

    /// <summary>The money is back.</summary>
    [JsonStringEnumMemberName("refunded")]
    Refunded,
}

/// <summary>A payment at the provider.</summary>
public sealed record Payment(string PaymentId, Guid OrderId, Money Amount, DateTimeOffset PayBy, PaymentStatus Status);

/// <summary>
/// The provider's books. They live in memory, where a real provider has a database. The sandbox is that of a third
/// party, and the product must do without the sandbox's memory anyway.
/// </summary>
public sealed class SandboxPayments(NoticeSender notices, BehaviourSwitch behaviour, TimeProvider time)
{
    private readonly Lock _sync = new();
    private readonly Dictionary<string, Payment> _payments = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _byKey = new(StringComparer.Ordinal);
    private readonly HashSet<string> _refusedKeys = new(StringComparer.Ordinal);

    /// <summary>
    /// Whether a request is refused. All are while the behaviour says so. Afterwards a key that was refused stays
    /// refused, as at many providers.
    /// </summary>
    public bool Refuses(string key)
    {
        lock (_sync) return _refusedKeys.Contains(key) || (behaviour.Now.Refuse && _refusedKeys.Add(key));
    }

    /// <summary>Makes a payment, once for each key.</summary>
    /// <returns>The payment. Null when the key was used for another one.</returns>
    public Payment? Create(string key, Guid orderId, Money amount, DateTimeOffset payBy)
    {
        Payment payment;
        lock (_sync)
        {
            if (_byKey.TryGetValue(key, out var known))
            {
                var before = _payments[known];
                return before.OrderId == orderId && before.Amount == amount ? before : null;
            }
            payment = new Payment($"pay_{RandomNumberGenerator.GetHexString(20, lowercase: true)}", orderId, amount, payBy, PaymentStatus.Open);
            _payments[payment.PaymentId] = payment;
            _byKey[key] = payment.PaymentId;
        }
        if (behaviour.Now.AutoPay) Pay(payment.PaymentId);
        return payment;
    }

    /// <summary>Finds a payment. Null when there is no such payment.</summary>
    public Payment? Find(string paymentId)
    {
        lock (_sync) return _payments.GetValueOrDefault(paymentId);
    }

    /// <summary>
    /// Lets the shopper pay. Nothing changes when the payment is not open, or the time to pay is over.
    /// </summary>
    /// <returns>The payment afterwards. Null when there is no such payment.</returns>
    public Payment? Pay(string paymentId)
    {
        var now = behaviour.Now;
        Payment payment;
        lock (_sync)
        {
            if (!_payments.TryGetValue(paymentId, out payment!)) return null;
            if (payment.Status is not PaymentStatus.Open || payment.PayBy < time.GetUtcNow()) return payment;
            if (now.Outcome != "fail") _payments[paymentId] = payment = payment with { Status = PaymentStatus.Paid };
        }
        if (now.Outcome == "fail" || now.Shuffle) notices.Send("payment.failed", payment, now);
        if (now.Outcome != "fail") notices.Send("payment.succeeded", payment, now);
        return payment;
    }

    /// <summary>
    /// Gives a payment back. The first call begins the refund, and a notice will tell of it. A later call finishes it.
    /// While no notices are sent (<c>never</c>) the refund stays under way.
    /// </summary>
    /// <returns>The state afterwards. Null when there is no such payment, or nothing was paid.</returns>
    public PaymentStatus? Refund(string paymentId)
    {
        var now = behaviour.Now;
        Payment payment;
        lock (_sync)
        {
            if (!_payments.TryGetValue(paymentId, out payment!) || payment.Status is PaymentStatus.Open) return null;
            if (payment.Status is PaymentStatus.Refunded || (payment.Status is PaymentStatus.Refunding && now.Outcome == "never")) return payment.Status;
            var done = payment.Status is PaymentStatus.Refunding;
            _payments[paymentId] = payment = payment with { Status = done ? PaymentStatus.Refunded : PaymentStatus.Refunding };
            if (done) return PaymentStatus.Refunded;
        }
        notices.Send("payment.refunded", payment, now);
        return payment.Status;
    }

    /// <summary>
    /// Tells the merchant, with a notice that it did not ask for, that a part of a payment was given back.
    /// </summary>
    /// <returns>Whether there is such a payment, and the amount is a part of it.</returns>
    public bool RefundPart(string paymentId, long amount)
    {
        if (Find(paymentId) is not { } payment || amount <= 0 || amount >= payment.Amount.Amount) return false;
        notices.Send("payment.refunded", payment with { Amount = payment.Amount with { Amount = amount } }, behaviour.Now);
        return true;
    }
}
