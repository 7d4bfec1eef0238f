namespace FlashSale.Api.Admission;

/// <summary>The body of a request for admission.</summary>
/// <param name="Solution">The answer to a challenge, as a widget makes it; not looked at while there are no challenges.</param>
public sealed record AdmissionForm(string? Solution = null);
