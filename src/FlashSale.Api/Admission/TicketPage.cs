namespace FlashSale.Api.Admission;

/// <summary>An admission.</summary>
/// <param name="Ticket">To be sent with the purchase, as it is.</param>
/// <param name="ExpiresAt">Redis TIME from which it is worth nothing.</param>
public sealed record TicketPage(string Ticket, string ExpiresAt);
