using System.ComponentModel.DataAnnotations;

namespace FlashSale.Admin.Access;

/// <summary>Who may use this host. Section <c>Admin</c>.</summary>
public sealed class AdminOptions
{
    /// <summary>At least one.</summary>
    public List<AdminToken> Tokens { get; set; } = [];
}

/// <summary>A bearer token that is known by its hash only.</summary>
public sealed class AdminToken
{
    /// <summary>Who holds it, as the audit log tells.</summary>
    [Required]
    [RegularExpression(@"[A-Za-z0-9._@\-]{1,64}", ErrorMessage = "allowed is 1 to 64 of A-Z a-z 0-9 . _ @ -.")]
    public string Name { get; set; } = "";

    /// <summary>What its holder may do: each role includes those before it.</summary>
    [Required]
    [RegularExpression("viewer|manager|operator", ErrorMessage = "allowed is viewer, manager or operator.")]
    public string Role { get; set; } = "";

    /// <summary>SHA-256 of the token, 64 hexadecimal digits: <c>printf %s "$token" | sha256sum</c>.</summary>
    [Required, FlashSale.Platform.Secret]
    [RegularExpression("[0-9A-Fa-f]{64}", ErrorMessage = "allowed is the SHA-256 of the token, 64 hexadecimal digits.")]
    public string Sha256 { get; set; } = "";
}
