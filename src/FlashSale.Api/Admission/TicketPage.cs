namespace FlashSale.Api.Admission;

/// <summary>The answer to an admission.</summary>
/// <param name="Ticket">The client sends it unchanged in the header of its purchase.</param>
/// <param name="ExpiresAt">Redis TIME from which the ticket is refused.</param>
public sealed record TicketPage(string Ticket, string ExpiresAt);
